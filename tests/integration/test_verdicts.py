"""Where a container cannot be saved, the message names the thing and the process, and the container runs on."""

import re
import subprocess

import pytest

from harness import wait_until

CASES = {
    "io_uring": ("import ctypes; libc=ctypes.CDLL(None); b=ctypes.create_string_buffer(240)\n"
                 "fd=libc.syscall(425, 4, b); assert fd >= 0, fd", "io_uring"),
    "userfaultfd": ("import ctypes; libc=ctypes.CDLL(None); fd=libc.syscall(323, 0); assert fd >= 0, fd", "userfaultfd"),
    "a thread with a directory of its own": (
        "import ctypes, threading, time\ndef run(): assert ctypes.CDLL(None).unshare(0x200) == 0; time.sleep(1000)\n"
        "threading.Thread(target=run, daemon=True).start()", "has a thread with a working directory of its own"),
    "a semaphore": ("import os; fd = os.eventfd(3, os.EFD_SEMAPHORE)", "holds an eventfd that is a semaphore"),
    "a pipe of packets": ("import os; r, w = os.pipe2(os.O_DIRECT); os.write(w, b'one'); os.write(w, b'two')",
                          "holds a pipe in packet mode"),
    "nobody has accepted": ("import socket; s = socket.create_server(('127.0.0.1', 7000)); "
                            "c = socket.create_connection(('127.0.0.1', 7000))", "that nobody has accepted yet"),
    "a name of two": ("import os; f = open('/tmp/a', 'w'); os.link('/tmp/a', '/tmp/b'); os.unlink('/tmp/a')", "(a hard link)"),
}


# What a restored program would have to do without, and be less safe for it: what does it, the word for it, the label's.
LESS_SAFE = {
    "landlock": ("import ctypes, os, struct; libc=ctypes.CDLL(None); libc.prctl(38, 1, 0, 0, 0)\n"
                 "fd=libc.syscall(444, struct.pack('Q', 1), 8, 0); assert fd >= 0 and libc.syscall(446, fd, 0) == 0; os.close(fd)",
                 "is under Landlock rules"),
    "mseal": ("import ctypes, mmap; libc=ctypes.CDLL(None); m=mmap.mmap(-1, 4096); a=ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
              "assert libc.syscall(462, ctypes.c_void_p(a), 4096, 0) == 0", "has sealed memory"),
}
PROGRAM_THAT_COUNTS = "\nimport time\ni=0\nwhile True:\n  i+=1; print(i, flush=True); time.sleep(0.1)"


@pytest.mark.parametrize("kind", LESS_SAFE)
def test_what_would_be_less_safe_is_refused_until_it_is_allowed(engine, image, stasis, kind):
    program, word = LESS_SAFE[kind]
    for name, label in (("c1", "a=b"), ("c2", f"stasis.checkpoint.allow= {kind} ,cpuid")):
        # Below an init that is not restricted itself.
        engine.docker("run", "-d", "--init=false", "--security-opt", "seccomp=unconfined", "--name", name, "--label", label, image("python"),
                      "python3", "-c", "import os\nif os.fork(): os.wait(); os._exit(1)\n" + program + PROGRAM_THAT_COUNTS)
    try:
        wait_until(lambda: engine.numbers("c1") and engine.numbers("c2"), "they run", 10)
    except AssertionError:
        if "AssertionError" in engine.docker("logs", "c1").stderr:
            pytest.skip(f"this kernel has no {kind}")
        raise
    for way in (["--leave-running"], []):
        result = engine.docker("checkpoint", "create", *way, "c1", "cp1", check=False)
        assert result.returncode == 1 and word in result.stderr and f"stasis.checkpoint.allow={kind}" in result.stderr, result.stderr
        assert re.search(r"Cannot checkpoint container c1: process ([2-9]|\d\d) \(python", result.stderr), result.stderr
        before = len(engine.numbers("c1"))
        wait_until(lambda: len(engine.numbers("c1")) > before, "it runs on")
        made = stasis("checkpoint", "create", *way, "c2", f"cp{len(way)}")
        assert "WARNING: process " in made.stderr and word in made.stderr and made.stderr.count("\n") == 1, made.stderr
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME"]
    engine.docker("start", "--checkpoint", "cp0", "c2")
    before = len(engine.numbers("c2"))
    wait_until(lambda: len(engine.numbers("c2")) > before, "it goes on")


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_saved_is_named(engine, image, case):
    program, word = CASES[case]
    engine.docker("run", "-d", "--privileged" if case == "userfaultfd" else "--init=false", "--security-opt",
                  "seccomp=unconfined", "--name", "c1", image("python"), "python3", "-c",
                  program + "\nimport time\ni=0\nwhile True:\n  i+=1; print(i, flush=True); time.sleep(0.1)")
    try:
        wait_until(lambda: engine.numbers("c1"), "it runs", 10)
    except AssertionError:
        logs = engine.docker("logs", "c1").stderr
        if "AssertionError" in logs:
            pytest.skip(f"this kernel refuses {case} here: {logs.strip().splitlines()[-1]}")
        raise
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1
    assert "Cannot checkpoint container c1: process " in result.stderr and word in result.stderr, result.stderr
    assert "python" in result.stderr
    assert "type NOTIFY" not in result.stderr
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME"]
    before = len(engine.numbers("c1"))
    wait_until(lambda: len(engine.numbers("c1")) > before, "it runs on")


def test_io_uring_is_refused_by_the_default_profile_so_that_programs_fall_back(engine, image):
    out = engine.out("run", "--rm", image("python"), "python3", "-c",
                     "import ctypes; libc=ctypes.CDLL(None, use_errno=True); b=ctypes.create_string_buffer(240)\n"
                     "print(libc.syscall(425, 4, b), ctypes.get_errno())")
    assert out in ("-1 1", "-1 38")


def test_a_nested_pid_namespace_is_named(engine, image):
    engine.docker("run", "-d", "--privileged", "--security-opt", "seccomp=unconfined", "--name", "c1", image("tools"),
                  "sh", "-c", "unshare -p -f --mount-proc sleep 1000; sleep 1000")
    if engine.inspect("c1", "{{.State.Status}}") != "running":
        pytest.skip("privileged containers do not run here")
    wait_until(lambda: "sleep" in engine.out("exec", "c1", "sh", "-c", "cat /proc/[0-9]*/comm"), "it runs")
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1 and "pid namespace" in result.stderr, result.stderr


def test_a_file_changed_since_the_checkpoint_is_named(engine, image):
    engine.docker("run", "-d", "--name", "c1", "--label", "stasis.checkpoint.files=no", image("tools"), "sh", "-c",
                  "echo 1 > /data; exec tail -f /data")
    wait_until(lambda: engine.numbers("c1"), "it runs")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "sh", "-c", "echo more >> /data")
    engine.docker("kill", "c1")
    engine.out("wait", "c1")
    result = engine.docker("start", "--checkpoint", "cp1", "c1", check=False)
    assert result.returncode == 1
    assert "/data" in result.stderr and "changed since the checkpoint" in result.stderr, result.stderr
    assert engine.inspect("c1", "{{.State.Status}}") == "exited"


def test_more_full_pipes_than_criu_can_save_are_counted(engine, image):
    engine.docker("run", "-d", "--name", "c1", "--ulimit", "nofile=4096:4096", image("python"), "python3", "-c",
                  "import os, time\nfor i in range(1030): os.write(os.pipe()[1], b'x')\nprint('ready', flush=True)\ntime.sleep(1000)")
    wait_until(lambda: "ready" in engine.out("logs", "c1"), "it runs")
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1
    assert "process 1 (python3) has 1030 of the container's 1030 pipes with unread data" in result.stderr, result.stderr


def test_a_full_disk_is_named(engine, image, tmp_path):
    directory = tmp_path / "small disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", directory], check=True)
    try:
        engine.docker("run", "-d", "--name", "c1", "--tmpfs", "/data", image("python"), "python3", "-c",
                      "import os, time\nopen('/data/file', 'wb').write(os.urandom(16 << 20))\nprint('ready', flush=True)\ntime.sleep(1000)")
        wait_until(lambda: "ready" in engine.out("logs", "c1"), "it runs")
        result = engine.docker("checkpoint", "create", "--checkpoint-dir", str(directory), "c1", "cp1", check=False)
        assert result.returncode == 1 and f"the file system mounted at {directory} is full" in result.stderr, result.stderr
        assert engine.inspect("c1", "{{.State.Running}}") == "true"
    finally:
        subprocess.run(["umount", directory], check=True)


def test_the_log_that_a_message_names_is_kept(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c",
                  "import os, time; f = open('/tmp/a', 'w'); os.link('/tmp/a', '/tmp/b'); os.unlink('/tmp/a')\n"
                  "print('ready', flush=True)\nwhile not os.path.exists('/go'): time.sleep(0.02)\nf.close()\n"
                  "print('closed', flush=True)\ntime.sleep(1000)")
    wait_until(lambda: "ready" in engine.out("logs", "c1"), "it runs")
    assert engine.docker("checkpoint", "create", "c1", "cp1", check=False).returncode == 1
    log = engine.root / "containers" / engine.inspect("c1", "{{.Id}}") / "failed-checkpoint.log"
    engine.docker("exec", "c1", "touch", "/go")
    wait_until(lambda: "closed" in engine.out("logs", "c1"), "it is closed")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.out("wait", "c1")
    assert "Can't create link remap" in log.read_text()
    engine.docker("rm", "c1")
    assert not log.exists()


@pytest.mark.parametrize("bound, word, words", [
    ("/", "network namespaces", "(a pinned namespace|the root of another container)"),
    ("state", "network namespaces", "a pinned namespace"), ("root", "roots of other containers", "the root of another container")])
def test_a_bind_of_the_engines_own_mounts_is_warned_of_and_refused(engine, bound, word, words):
    engine.counter("other")
    source = bound if bound == "/" else engine.directory / bound
    made = engine.docker("create", "--name", "c1", "-v", f"{source}:/host", "busybox", "sleep", "1000")
    assert f"The bind of {source} at /host takes along the {word}" in made.stderr and made.stderr.count("WARNING") == 1, made.stderr
    engine.docker("start", "c1")
    for way in (["--leave-running"], []):
        refused = engine.docker("checkpoint", "create", *way, "c1", "cp1", check=False)
        assert refused.returncode == 1, refused
        assert re.search(f"Cannot checkpoint container c1: the bind at /host takes along {words} ", refused.stderr), refused
        assert "CRIU:" not in refused.stderr, "not by CRIU"
    assert engine.inspect("c1", "{{.State.Status}}") == "running"
    # The way out that it names.
    made = engine.docker("run", "-d", "--name", "c2", "--mount", f"type=bind,src={source},dst=/host,bind-nonrecursive", "busybox",
                         "sleep", "1000")
    assert made.stderr == ""
    engine.docker("checkpoint", "create", "c2", "cp1")
    engine.docker("start", "--checkpoint", "cp1", "c2")
