"""The HTTP surface by raw calls: versions, headers, refusals."""

import json
import socket
import subprocess


def curl(engine, *arguments, input=None):
    result = subprocess.run(["curl", "-si", "--max-time", "20", "-H", "Expect:", "--unix-socket", engine.socket, *arguments],
                            capture_output=True, text=True, check=True, input=input)
    head, _, body = result.stdout.replace("\r", "").partition("\n\n")
    lines = head.splitlines()
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if ": " in line)}
    return int(lines[0].split()[1]), headers, body


def test_headers_of_every_answer(engine):
    for path in ("/_ping", "/v1.47/version", "/nosuch"):
        _, headers, _ = curl(engine, f"http://d{path}")
        assert headers["api-version"] == "1.47"
        assert headers["ostype"] == "linux"
        assert headers["docker-experimental"] == "true"
        assert headers["server"].startswith("Stasis/")


def test_versions(engine):
    assert curl(engine, "http://d/containers/json")[0] == 200
    assert curl(engine, "http://d/v1.22/containers/json")[0] == 200
    code, _, body = curl(engine, "http://d/v1.99/containers/json")
    assert code == 400 and "client version 1.99 is too new. Maximum supported API version is 1.47" in body
    code, _, body = curl(engine, "http://d/v1.1/containers/json")
    assert code == 400 and "client version 1.1 is too old. Minimum supported API version is 1.22" in body


def test_bad_requests(engine):
    def post(body, kind="application/json", path="/v1.47/containers/create"):
        return curl(engine, "-X", "POST", "-H", f"Content-Type: {kind}", "--data-binary", "@-", f"http://d{path}", input=body)

    code, headers, body = post("{not json")
    assert code == 400 and json.loads(body)["message"] and headers["content-type"] == "application/json"
    assert post("{}", kind="text/plain")[0] == 400
    assert post(json.dumps({"Image": 7}))[0] == 400
    assert post(json.dumps({"Image": "nosuch", "Cmd": ["true"]}))[0] == 404
    assert post("[" * 100_000)[0] == 400
    assert post(json.dumps({"Image": "busybox", "Cmd": ["x" * (5 << 20)]}))[0] in (400, 413)
    assert curl(engine, "http://d/v1.47/containers/json?filters=notjson")[0] == 400
    assert curl(engine, "-X", "PATCH", "http://d/v1.47/containers/json")[0] in (404, 405)
    assert curl(engine, "http://d/v1.47/nosuch")[0] == 404


def test_what_comes_later_is_named(engine):
    for method, path, word in (("POST", "/networks/create", "network"), ("POST", "/volumes/create", "volume"),
                               ("POST", "/build", "build"), ("POST", "/images/create?fromImage=x", "pull"),
                               ("POST", "/swarm/init", "swarm")):
        code, _, body = curl(engine, "-X", method, f"http://d/v1.47{path}")
        assert code == 501 and word in json.loads(body)["message"].lower(), (path, code, body)


def test_clients_that_misbehave_harm_nobody(engine):
    broken = []
    for bytes_sent in (b"", b"GET", b"GET /_ping HTTP/1.1\r\nHost: d\r\nX: " + b"y" * 100_000, b"\x16\x03\x01\x00",
                       b"POST /v1.47/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
                       b"Content-Length: 1000\r\n\r\n{", b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(engine.socket))
            client.sendall(bytes_sent)
            broken.append(client)
    assert curl(engine, "http://d/_ping")[2] == "OK"
    for client in broken:
        client.close()
    assert curl(engine, "http://d/_ping")[2] == "OK"
