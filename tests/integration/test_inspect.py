"""What `stasis checkpoint inspect` shows of a checkpoint: processes, files, sockets, memory, layer, sizes."""

import json
import re

import pytest

from harness import wait_until

# Says what it holds; names are chosen to hurt a terminal.
HOLDER = r"""
import mmap, os, signal, socket, time
os.chdir("/tmp")
log = open("/tmp/app.log", "w"); log.write("x" * 5000); log.flush()
evil = open(b"/tmp/evil\x1b[2J\n\xff", "w")
listener = socket.create_server(("127.0.0.1", 8080))
client = socket.create_connection(("127.0.0.1", 8080))
server, _ = listener.accept()
v6 = socket.create_server(("::1", 8081), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 5353))
path = socket.socket(socket.AF_UNIX); path.bind("/tmp/listen.sock"); path.listen()
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\0hidden"); abstract.listen()
one, two = socket.socketpair()
r, w = os.pipe()
epoll = __import__("select").epoll()
memory = os.memfd_create("scratch"); os.write(memory, b"m" * 8192)
shared = mmap.mmap(-1, 1 << 20); shared[:300000] = b"s" * 300000
private = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); private[:2 << 20] = b"p" * (2 << 20)
child = os.fork()
if child == 0:
    signal.pause()
zombie = os.fork()
if zombie == 0:
    os._exit(0)
print("ready", child, zombie, flush=True)
signal.pause()
"""


def details(stasis, *words):
    report = json.loads(stasis("checkpoint", "inspect", "--format", "json", *words).stdout)
    return report, {process["pid"]: process for process in report.get("process_details", [])}


@pytest.fixture
def holder(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-u", "-c", HOLDER)
    words = wait_until(lambda: engine.out("logs", "c1").split()[-3:], "it is ready")
    assert words[0] == "ready", engine.docker("logs", "c1").stderr
    return int(words[1]), int(words[2])


@pytest.mark.parametrize("freeze", ["cow", "plain"])
def test_all_that_processes_hold_is_shown(engine, stasis, holder, freeze):
    child, zombie = holder
    stasis("checkpoint", "create", "--leave-running", "--freeze", freeze, "c1", "cp1")
    report, processes = details(stasis, "--all", "c1", "cp1")
    assert set(processes) == {1, child, zombie}
    init = processes[1]
    assert (init["name"], init["state"], init["threads"], init["parent"]) == ("python3", "running", 1, 0)
    assert init["working_directory"] == "/tmp" and init["root_directory"] == "/" and "python3" in init["executable"]
    assert processes[child]["parent"] == 1 and processes[zombie]["state"] == "zombie"
    assert processes[zombie]["files"] == [] and processes[zombie]["mappings"] == []

    files = {file["name"]: file for file in init["files"]}
    assert (files["/tmp/app.log"]["kind"], files["/tmp/app.log"]["access"], files["/tmp/app.log"]["position"]) == ("file", "w", 5000)
    assert {"eventpoll", "memfd", "pipe"} <= {file["kind"] for file in init["files"]}
    assert files["scratch"]["kind"] == "memfd"
    assert "/tmp/evil\x1b[2J\n\ufffd" in files, "a byte that is no text is replaced"

    sockets = {(s["family"], s["protocol"], s["state"], s["local"], s["remote"]) for s in init["sockets"]}
    client = next(s for s in init["sockets"] if s["remote"] == "127.0.0.1:8080")
    assert client["state"] == "established"
    assert ("inet", "tcp", "listen", "127.0.0.1:8080", "") in sockets
    assert ("inet", "tcp", "established", "127.0.0.1:8080", client["local"]) in sockets
    assert ("inet6", "tcp", "listen", "[::1]:8081", "") in sockets
    assert ("inet", "udp", "close", "127.0.0.1:5353", "") in sockets
    assert ("unix", "", "listen", "/tmp/listen.sock", "") in sockets
    assert ("unix", "", "listen", "@hidden", "") in sockets
    assert len([s for s in init["sockets"] if s["family"] == "unix" and s["remote"].startswith("socket:[")]) == 2

    memory = init["memory"]
    mappings = init["mappings"]
    size = lambda mapping: int(mapping["end"], 16) - int(mapping["start"], 16)
    assert memory["mapped_bytes"] == sum(map(size, mappings))
    assert {"heap", "stack", "vdso", "file", "anonymous"} <= {mapping["kind"] for mapping in mappings}
    assert any(m["name"].endswith("python3") or "/python3." in m["name"] for m in mappings if m["kind"] == "file")
    # What was written is what is saved, page by page.
    private = next(m for m in mappings if m["kind"] == "anonymous" and size(m) >= 4 << 20 and m["saved_bytes"] >= 2 << 20)
    assert private["saved_bytes"] < 4 << 20 and private["protection"] == "rw-p"
    shared = next(m for m in mappings if size(m) == 1 << 20 and m["protection"] == "rw-s")
    assert shared["kind"] == "shared" and shared["saved_bytes"] == 74 * 4096 == memory["shared_bytes"]
    assert memory["saved_bytes"] + memory["shared_bytes"] == sum(m["saved_bytes"] for m in mappings)

    assert {"Path": "/tmp/app.log", "Kind": 1} in report["changes"]
    assert 0 < report["usage"]["OwnBytes"] <= report["usage"]["StoredBytes"]

    tree = stasis("checkpoint", "inspect", "--all", "c1", "cp1").stdout
    for part in ("[file 3]  /tmp/app.log (w, at 5000)", "[cwd]  /tmp", "[tcp (listen) ", "127.0.0.1:8080 -> 127.0.0.1:",
                 "[unix (stream, listen) ", "@hidden", "]  heap, ", "]  stack, ", "]  shared", "Memory: ", "mapped", "A /tmp/app.log",
                 "Compressed: ", "Unique: ", "Open files", "Open sockets"):
        assert part in tree, tree
    assert "\x1b" not in tree and not [line for line in tree.splitlines() if not re.search("^[ │├└]|^cp1", line)], tree


def test_only_what_is_asked_for_is_shown(engine, stasis, holder):
    child, _ = holder
    stasis("checkpoint", "create", "c1", "cp1")
    report, processes = details(stasis, "c1", "cp1")
    assert not processes and "usage" not in report and "changes" not in report
    _, processes = details(stasis, "--files", "--pid", child, "c1", "cp1")
    assert list(processes) == [child] and "sockets" not in processes[child] and "memory" not in processes[child]
    tree = stasis("checkpoint", "inspect", "--sockets", "--pid", child, "c1", "cp1").stdout
    assert f"[{child}]" in tree and "[1]" not in tree and "Open sockets" in tree and "Open files" not in tree
    missing = stasis("checkpoint", "inspect", "--files", "--pid", "77", "c1", "cp1", check=False)
    assert missing.returncode == 1 and "checkpoint cp1 has no process 77" in missing.stderr
    missing = stasis("checkpoint", "inspect", "--files", "c1", "cp9", check=False)
    assert missing.returncode == 1 and "checkpoint cp9 does not exist for container c1" in missing.stderr


def test_a_checkpoint_of_a_directory_is_shown(engine, stasis, holder, tmp_path):
    stasis("checkpoint", "create", "--checkpoint-dir", tmp_path / "cps", "c1", "cp1")
    report, processes = details(stasis, "--all", "--checkpoint-dir", tmp_path / "cps", "c1", "cp1")
    assert report["usage"]["OwnBytes"] > 0 and processes[1]["files"] and report["changes"]


def test_a_damaged_checkpoint_shows_what_is_left(engine, stasis, holder):
    stasis("checkpoint", "create", "c1", "cp1")
    whole = {pack: pack.read_bytes() for pack in (engine.root / "checkpoint-store" / "packs").glob("*.pack")}
    try:
        for pack, content in whole.items():
            pack.chmod(0o600)
            pack.write_bytes(content[:64] + bytes(len(content) - 128) + content[-64:])
        shown = stasis("checkpoint", "inspect", "--files", "c1", "cp1", check=False)
    finally:  # what is damaged is never collected, and the store is that of the next tests too
        for pack, content in whole.items():
            pack.write_bytes(content)
    assert shown.returncode == 1 and "[1]  python3" in shown.stdout, shown
    assert "checkpoint cp1: " in shown.stderr and "the store lacks page" in shown.stderr
