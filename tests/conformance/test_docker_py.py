"""The same engine by docker-py: another client, with its own idea of the API."""

import pytest

from harness import wait_until


def test_a_life_by_docker_py(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo hello; exec sleep 1000"], detach=True, name="c1",
                                      labels={"k": "v"}, environment={"A": "b"})
    wait_until(lambda: container.logs() == b"hello\n", "the log is there")
    container.reload()
    assert container.status == "running" and container.labels == {"k": "v"}
    code, output = container.exec_run(["sh", "-c", "echo $A; exit 4"])
    assert (code, output) == (4, b"b\n")
    assert [c.name for c in client.containers.list(filters={"label": "k=v"})] == ["c1"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=1)
    assert container.wait()["StatusCode"] in (137, 143)
    container.remove()
    assert client.containers.list(all=True) == []


def test_run_returns_output_and_raises_on_failure(client):
    docker = pytest.importorskip("docker")
    assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as failure:
        client.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'", remove=True)
    assert failure.value.exit_status == 3
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("nosuch")


def test_checkpoints_by_the_plain_api(client):
    """docker-py has no checkpoint calls of its own: its users make them so."""
    container = client.containers.run("busybox", ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"],
                                      detach=True, name="c1")
    wait_until(lambda: container.logs(), "it counts")
    api = client.api
    url = api._url("/containers/{0}/checkpoints", container.id)
    answer = api._post_json(url, {"CheckpointID": "cp", "Exit": True})
    assert answer.status_code == 201
    assert api._result(api._get(url), True) == [{"Name": "cp"}]
    before = len(container.logs().split())
    started = api._post(api._url("/containers/{0}/start", container.id), params={"checkpoint": "cp"})
    assert started.status_code == 204
    wait_until(lambda: len(container.logs().split()) > before, "it counts on")
    numbers = [int(n) for n in container.logs().split()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert api._delete(url + "/cp").status_code == 204


def test_attach_stream(client):
    container = client.containers.create("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"])
    stream = container.attach(stream=True, logs=False)
    container.start()
    assert b"".join(stream).split() == [b"1", b"2", b"3"]
    assert container.wait()["StatusCode"] == 0


def test_events_stream(client):
    stream = client.events(decode=True, filters={"type": "container"})
    client.containers.run("busybox", "true", name="c1", remove=True)
    seen = []
    for event in stream:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert [a for a in seen if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"]


def test_version_and_info(client):
    version = client.version()
    assert version["ApiVersion"] == "1.47" and version["MinAPIVersion"] == "1.24" and version["Os"] == "linux"
    info = client.info()
    assert info["Images"] >= 1 and info["NCPU"] >= 1 and info["MemTotal"] > 0
    assert client.ping()
