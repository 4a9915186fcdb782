"""A container that attacks the host by what the operator does with it: its checkpoint, its restore, a command in it."""

import os

import pytest

from harness import wait_until

# Holds a file or a directory of /d that is deleted, and puts a link to a directory of the host in the place of /d once
# told to.
HOLD_AND_SWAP = """
import os, sys, time
what, target = sys.argv[1:]
os.mkdir("/d")
if what == "file":
    held = os.open("/d/held", os.O_CREAT | os.O_RDWR)
    os.write(held, b"#!/bin/sh\\n")
    os.fchmod(held, 0o4755)
    os.unlink("/d/held")
elif what == "fifo":
    os.mkfifo("/d/held")
    held = os.open("/d/held", os.O_RDWR)
    os.unlink("/d/held")
else:
    os.mkdir("/d/held")
    os.chmod("/d/held", 0o777)
    os.chown("/d/held", 4242, 4242)
    held = os.open("/d/held", os.O_RDONLY)
    os.rmdir("/d/held")
print("ready", flush=True)
while not os.path.exists("/swap"):
    time.sleep(0.02)
os.rmdir("/d")
os.symlink(target, "/d")
print("swapped", flush=True)
while True:
    time.sleep(1)
"""


def wait_for_line(engine, name, line):
    wait_until(lambda: line in engine.out("logs", name).split(), f"{name} says {line}")


@pytest.mark.parametrize("what", ["file", "fifo", "directory"])
def test_a_deleted_file_does_not_come_back_on_the_host(engine, image, tmp_path, what):
    target = tmp_path / "target"
    target.mkdir()
    if what == "directory":
        (target / "held").mkdir(mode=0o700)
    os.chmod(target, 0o755)
    before = target.stat()
    # Its files as they are now: those of the checkpoint are honest.
    engine.docker("run", "-d", "--name", "c1", "--label", "stasis.checkpoint.files=no", image("python"), "python3", "-c",
                  HOLD_AND_SWAP, what, target)
    wait_for_line(engine, "c1", "ready")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "python3", "-c", "open('/swap', 'w')")
    wait_for_line(engine, "c1", "swapped")
    engine.docker("stop", "-t", "0", "c1")
    result = engine.docker("start", "--checkpoint", "cp1", "c1", check=False)
    after = target.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)
    if what == "directory":
        held = (target / "held").stat()
        assert (held.st_mode & 0o7777, held.st_uid) == (0o700, 0)
    else:
        assert os.listdir(target) == []
    assert result.returncode != 0, "it cannot be put back where it was"


def test_deleted_files_in_honest_places_come_back(engine, image, tmp_path):
    program = """
import os, socket, time
def hold(directory, remove):
    os.makedirs(directory)
    held = os.open(directory + "/held", os.O_CREAT | os.O_RDWR)
    os.write(held, directory.encode())
    os.fchmod(held, 0o640)
    os.unlink(directory + "/held")
    if remove:
        os.rmdir(directory)
    return held
places = ["/a/b/c", "/a/b/gone", "/volume/a/b", "/volume/a/gone", "/dev/shm/a/b", "/dev/shm/a/gone"]
held = {place: hold(place, place.endswith("gone")) for place in places}
os.mkdir("/a/directory")
directory = os.open("/a/directory", os.O_RDONLY)
os.rmdir("/a/directory")
os.mkfifo("/a/fifo")
fifo = os.open("/a/fifo", os.O_RDWR)
os.write(fifo, b"queued")
os.unlink("/a/fifo")
listening = socket.socket(socket.AF_UNIX)
listening.bind("/a/listening")
listening.listen()
deleted = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
deleted.bind("/a/deleted")
os.unlink("/a/deleted")
print("ready", flush=True)
while not os.path.exists("/go"):
    time.sleep(0.02)
for place, file in held.items():
    assert os.pread(file, 100, 0) == place.encode(), place
    state = os.fstat(file)
    assert (state.st_mode & 0o7777, state.st_nlink) == (0o640, 0), (place, state)
assert os.fstat(directory).st_nlink == 0
assert os.read(fifo, 10) == b"queued"
client = socket.socket(socket.AF_UNIX)
client.connect("/a/listening")
assert not os.path.exists("/a/deleted") and deleted.getsockname() == "/a/deleted"
assert sorted(os.listdir("/a")) == ["b", "listening"], os.listdir("/a")
assert os.listdir("/volume/a") == ["b"] and os.listdir("/dev/shm/a") == ["b"]
print("whole", flush=True)
time.sleep(1000)
"""
    engine.docker("run", "-d", "--name", "c1", "-v", f"{tmp_path}:/volume", image("python"), "python3", "-c", program)
    wait_for_line(engine, "c1", "ready")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    engine.docker("exec", "c1", "python3", "-c", "open('/go', 'w')")
    wait_for_line(engine, "c1", "whole")


DEVICE_AND_INODE = "import os; s = os.stat('{}'); print(s.st_dev, s.st_ino)"


def of_host(path):
    state = os.stat(path)
    return f"{state.st_dev} {state.st_ino}"


def test_no_restore_gives_out_the_hosts_devices(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", "import time\nwhile True: time.sleep(1)")
    stat_keys = ["exec", "c1", "python3", "-c", DEVICE_AND_INODE.format("/proc/keys")]
    assert engine.out(*stat_keys) != of_host("/dev/null")
    for name in ("cp1", "cp2"):
        engine.docker("checkpoint", "create", "c1", name)
        engine.docker("start", "--checkpoint", name, "c1")
        assert engine.out(*stat_keys) != of_host("/dev/null")
        assert engine.out("exec", "c1", "python3", "-c", "print(len(open('/proc/keys').read()))") == "0"


def test_a_container_cannot_uncover_what_its_own_null_covers(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", "import time\nwhile True: time.sleep(1)")
    engine.docker("exec", "c1", "python3", "-c", "import os; os.unlink('/dev/null'); os.symlink('/etc', '/dev/null')")
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode != 0 and "has removed the /dev/null that covers /proc/" in result.stderr
    assert engine.inspect("c1", "{{.State.Status}}") == "running"


def test_a_command_without_input_has_no_file_of_the_hosts(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", "import time; time.sleep(1000)")
    stdin = "import os, stat, sys; s = os.fstat(0); print(stat.S_ISFIFO(s.st_mode), s.st_dev, s.st_ino, sys.stdin.read())"
    fifo, device, inode = engine.out("exec", "c1", "python3", "-c", stdin).split()
    assert fifo == "True" and f"{device} {inode}" != of_host("/dev/null")
    engine.docker("exec", "-d", "c1", "python3", "-c", stdin.replace("print(", "open('/out', 'w').write(repr((") + "))")
    fifo = wait_until(lambda: engine.out("exec", "c1", "cat", "/out", check=False), "the detached command is done")
    assert fifo.startswith("(True,")


def test_a_restored_container_sees_no_cgroups_but_its_own(engine):
    engine.counter("c1")
    roots = ["exec", "c1", "sh", "-c", "grep ' - cgroup ' /proc/self/mountinfo | cut -d' ' -f4,5 | sort"]
    before = engine.out(*roots)
    for name in ("cp1", "cp2"):
        engine.docker("checkpoint", "create", "c1", name)
        engine.docker("start", "--checkpoint", name, "c1")
        assert engine.out(*roots) == before
