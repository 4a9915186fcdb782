"""stasisd itself: it ends when it is told to, whatever it is at."""

import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness import BIN, REPOSITORY, wait_until

# Never serves; never answers who connects, and does not end when it is asked to.
SILENT = """#!/bin/sh
echo $$ > "$0.pid"
exec sleep 1000
"""
DEAF = """#!/usr/bin/python3 -B
import os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[sys.argv.index("--socket") + 1])
server.listen()
open(sys.argv[0] + ".pid", "w").write(str(os.getpid()))
while True:
    signal.pause()
"""


@pytest.fixture
def daemon(tmp_path):
    """daemon(FLAGS): a stasisd of its own, with a root that goes with the test."""
    started = []

    def start(*flags):
        with open(tmp_path / "log", "wb") as log:
            started.append(subprocess.Popen(
                [BIN / "stasisd", "--root", tmp_path / "root", "--state", tmp_path / "state", *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(state):
    return subprocess.run(["curl", "-sf", "--unix-socket", state / "stasis.sock", "http://d/_ping"], capture_output=True).returncode == 0


def end(process):
    """SIGTERM; the exit code, and the seconds that it took."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=60), time.monotonic() - began


@pytest.mark.parametrize("program", [SILENT, DEAF], ids=["silent", "deaf"])
def test_a_start_that_hangs_is_ended_at_once(daemon, tmp_path, program):
    script = tmp_path / "supervisor"
    script.write_text(program)
    script.chmod(0o755)
    process = daemon("--supervisor-program", script)
    pid_file = tmp_path / "supervisor.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the supervisor runs")
    time.sleep(0.3)  # the daemon is at its wait for it: the time is the program's own
    code, seconds = end(process)
    assert code == 0 and seconds < 2, (code, seconds, (tmp_path / "log").read_text())
    assert not os.path.exists(f"/proc/{pid_file.read_text().strip()}"), "the supervisor has ended, too"
    assert not (tmp_path / "state/stasis.sock").exists()


def test_an_upload_does_not_hold_up_the_end(daemon, tmp_path):
    process = daemon()
    path = tmp_path / "state/stasis.sock"
    wait_until(lambda: answers(tmp_path / "state"), "the engine answers")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"POST /v1.47/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        wait_until(lambda: list((tmp_path / "root/images/spool").iterdir()), "the upload is taken")
        code, seconds = end(process)
    assert code == 0 and seconds < 2, (code, seconds)
    assert not list((tmp_path / "root/images/spool").iterdir())


def test_a_hang_up_changes_nothing_and_is_told(daemon, tmp_path):
    process = daemon()
    wait_until(lambda: answers(tmp_path / "state"), "the engine answers")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in (tmp_path / "log").read_text(), "it is told")
    assert process.poll() is None and answers(tmp_path / "state")
    assert end(process)[0] == 0


def test_another_user_than_root_is_told_at_once(tmp_path):
    result = subprocess.run([BIN / "stasisd", "--root", tmp_path / "root", "--state", tmp_path / "state"], user=65534,
                            extra_groups=[], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert "stasisd needs root, and was started by user 65534" in result.stderr and "serving" not in result.stderr


def test_a_fifo_in_place_of_a_file_holds_up_no_start(daemon, tmp_path):
    """Whatever file of ours it has the name of: the engine serves without it, or says which one it is, and ends."""
    state, root = tmp_path / "state", tmp_path / "root"

    def docker(*arguments):
        subprocess.run(["docker", "-H", f"unix://{state}/stasis.sock", *arguments], check=True, capture_output=True)

    process = daemon()
    wait_until(lambda: answers(state), "the engine answers")
    subprocess.run([REPOSITORY / "scripts/make-image", "busybox", tmp_path / "busybox.tar"], check=True)
    docker("load", "-i", tmp_path / "busybox.tar")
    docker("create", "--name", "c1", "busybox", "true")
    assert end(process)[0] == 0
    files = {path for top in (state, root) for path in top.rglob("*") if stat.S_ISREG(path.lstat().st_mode) and "/bin/" not in str(path)}
    files |= {root / f"stasis.db{suffix}" for suffix in ("-wal", "-shm", "-journal")}
    assert root / "stasis.db" in files and root / "stasis.lock" in files
    for path in sorted(files):
        if path.exists():
            path.rename(tmp_path / "aside")
        os.mkfifo(path)
        process = daemon()
        wait_until(lambda: process.poll() is not None or answers(state), f"a start with a FIFO as {path}")
        code, seconds = end(process) if process.poll() is None else (process.returncode, 0)
        logs = [tmp_path / "log"] + ([state / "supervisor.log"] if path != state / "supervisor.log" else [])
        log = "".join(one.read_text() for one in logs)
        assert (code == 0 and seconds < 5) or (code == 1 and str(path) in log), (path, code, seconds, log)
        path.unlink(missing_ok=True)
        if (tmp_path / "aside").exists():
            (tmp_path / "aside").rename(path)
