"""The command `stasis`: docker's flags, output and exit codes, a terminal, checkpoints, doctor."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time

import pytest

from harness import BIN, wait_until

STASIS = BIN / "stasis"
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, engine, *arguments, size=(24, 80)):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            termios.tcsetwinsize(0, size)
            os.execve(STASIS, ["stasis", *arguments], {**os.environ, "STASIS_HOST": engine.host})
        self.seen = ""

    def wait_for(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {text!r} in {self.seen!r}"
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # the program has gone
                piece = b""
            assert piece, f"it ended without {text!r}: {self.seen!r}"
            self.seen += piece.decode(errors="replace")

    def type(self, text):
        os.write(self.fd, text.encode())

    def mode(self):
        return termios.tcgetattr(self.fd)[3]

    def exit_code(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code


def test_run_passes_output_input_and_exit_code(stasis):
    result = stasis("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 7)
    result = stasis("run", "--rm", "-i", "busybox", "wc", "-c", input="x" * 100_000)
    assert result.stdout.strip() == "100000"
    assert stasis("ps", "-aq").stdout == ""


def test_arguments_reach_the_program_as_they_are(stasis):
    arguments = ["[a,b]", "--flag", "-e", "", "a b", "ps", "--"]
    result = stasis("run", "--rm", "busybox", "sh", "-c", 'for a; do echo "<$a>"; done', "sh", *arguments)
    assert result.stdout.splitlines() == [f"<{a}>" for a in arguments]


def test_failures_have_dockers_exit_codes(stasis):
    assert stasis("run", "--nosuchflag", "busybox", check=False).returncode == 125
    assert stasis("run", "nosuchimage", check=False).returncode == 125
    assert stasis("run", "--rm", "busybox", "nosuchprogram", check=False).returncode == 127
    assert stasis("run", "--rm", "busybox", "/etc", check=False).returncode == 126
    assert stasis("rm", "nosuch", check=False).returncode == 1
    assert "No such container: nosuch" in stasis("logs", "nosuch", check=False).stderr
    assert stasis("ps", "-aq").stdout == ""
    result = stasis("-H", "unix:///nonexistent", "ps", check=False)
    assert result.returncode == 1 and "Is stasisd running?" in result.stderr


def test_flags_of_run_reach_the_container(stasis, tmp_path):
    (tmp_path / "in").write_text("from the host")
    tmp_path.chmod(0o755)  # the user inside is another
    result = stasis("run", "--rm", "--hostname", "h1", "-w", "/tmp", "-e", "X=y", "--memory", "64m", "--cpus", "0.5",
                    "--pids-limit", "50", "--read-only", "--tmpfs", "/scratch:size=1m", "-u", "1234:5678", "-v",
                    f"{tmp_path}:/data:ro", "--cap-drop", "ALL", "--network", "none", "--label", "a=b", "--ulimit",
                    "nofile=99", "busybox", "sh", "-c",
                    "hostname; pwd; echo $X; id -u; id -g; touch /scratch/a && echo tmpfs; touch /b 2>/dev/null || echo ro;"
                    "cat /data/in; echo; ulimit -n; ls /sys/class/net; grep CapEff /proc/self/status")
    assert result.stdout.split() == ["h1", "/tmp", "y", "1234", "5678", "tmpfs", "ro", "from", "the", "host", "99", "lo",
                                     "CapEff:", "0" * 16]
    result = stasis("run", "--rm", "--mount", f"type=bind,source={tmp_path},target=/data,readonly", "--entrypoint", "cat",
                    "busybox", "/data/in")
    assert result.stdout == "from the host"


def test_ps_logs_exec_stop_and_rm(stasis):
    full = stasis("run", "-d", "--name", "c1", "--label", "k=v", "busybox", "sh", "-c", COUNT).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", full)
    header, line = stasis("ps").stdout.splitlines()
    assert header.split()[:2] == ["CONTAINER", "ID"] and line.split()[0] == full[:12] and line.endswith(" c1")
    assert stasis("ps", "-q", "--no-trunc").stdout.strip() == full
    assert json.loads(stasis("ps", "--format", "json", "--filter", "label=k=v").stdout)["Names"] == "c1"
    assert stasis("ps", "-q", "--filter", "label=other").stdout == ""
    assert stasis("exec", "c1", "sh", "-c", "exit 9", check=False).returncode == 9
    assert stasis("exec", "-i", "-e", "B=2", "-w", "/tmp", "c1", "sh", "-c", "echo $B $(pwd); cat", input="in").stdout \
        == "2 /tmp\nin"
    stasis("exec", "-d", "c1", "touch", "/made")
    wait_until(lambda: stasis("exec", "c1", "ls", "/made", check=False).returncode == 0, "the exec left to run has run")
    wait_until(lambda: len(stasis("logs", "c1").stdout.split()) >= 3, "it counts")
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z 1\n", stasis("logs", "-t", "c1").stdout)
    assert len(stasis("logs", "--tail", "2", "c1").stdout.split()) == 2
    assert stasis("logs", "--since", "1h", "c1").stdout.startswith("1\n")
    assert stasis("logs", "--until", "1h", "c1").stdout == ""
    assert stasis("stop", "-t", "0", "c1").stdout == "c1\n"
    assert stasis("ps", "-q").stdout == "" and stasis("ps", "-n", "1", "-q").stdout.strip() == full[:12]
    assert stasis("rm", "c1").stdout == "c1\n"


def test_logs_follow_to_the_end(stasis):
    stasis("run", "-d", "--name", "c1", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert stasis("logs", "-f", "c1").stdout.split() == ["1", "2", "3"]
    assert stasis("wait", "c1").stdout == "0\n"


def test_signals_reach_the_container(stasis, engine):
    run = subprocess.Popen([STASIS, "run", "--rm", "busybox", "sh", "-c",
                            "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"],
                           stdout=subprocess.PIPE, text=True, env={**os.environ, "STASIS_HOST": engine.host})
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=20) == 5
    run.stdout.close()


def test_a_terminal_is_one_inside_and_as_before_outside(engine):
    terminal = Terminal(engine, "run", "--rm", "-it", "busybox", "sh", "-c", "stty size; tty; read x; echo got-$x; exit 3", size=(33, 101))
    before = terminal.mode()
    terminal.wait_for("33 101")  # from its first moment
    terminal.wait_for("/dev/pts/0")
    assert not terminal.mode() & termios.ICANON
    terminal.type("hello\r")
    terminal.wait_for("got-hello")
    wait_until(lambda: terminal.mode() == before, "the terminal is as before")
    assert terminal.exit_code() == 3


def test_a_window_that_changes_is_seen_inside(engine, stasis):
    stasis("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
    terminal = Terminal(engine, "exec", "-it", "c1", "sh", "-c",
                        "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.1; done")
    terminal.wait_for("ready")
    termios.tcsetwinsize(terminal.fd, (44, 111))
    terminal.wait_for("44 111")
    assert terminal.exit_code() == 4


def test_a_terminal_is_as_before_when_the_command_is_ended(engine, stasis):
    stasis("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
    terminal = Terminal(engine, "exec", "-it", "c1", "sh", "-c", "echo ready; cat")
    before = terminal.mode()
    terminal.wait_for("ready")
    assert terminal.mode() != before
    os.kill(terminal.pid, signal.SIGTERM)
    wait_until(lambda: terminal.mode() == before, "the terminal is as before")
    assert terminal.exit_code() == 128 + signal.SIGTERM


def test_ctrl_p_ctrl_q_leaves_the_container_running(engine, stasis):
    terminal = Terminal(engine, "run", "-it", "--name", "c1", "busybox", "sh", "-c", "echo ready; sleep 1000")
    terminal.wait_for("ready")
    terminal.type("\x10\x11")
    assert terminal.exit_code() == 0
    assert stasis("ps", "--format", "json").stdout.count('"running"') == 1


def test_a_terminal_is_asked_for_without_one(stasis):
    result = stasis("run", "--rm", "-it", "busybox", "true", check=False)
    assert result.returncode == 1 and "the input device is not a TTY" in result.stderr


def test_images_import_and_load(stasis, tmp_path):
    assert "busybox" in stasis("images").stdout
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", "/bin", "-cf", tar, "--transform", "s,^,bin/,", "busybox"], check=True)
    imported = stasis("import", "-c", 'CMD ["/bin/busybox","echo","imported"]', tar, "mine:1").stdout.strip()
    assert re.fullmatch("sha256:[0-9a-f]{64}", imported)
    assert stasis("run", "--rm", "mine:1").stdout == "imported\n"
    lines = [json.loads(line) for line in stasis("images", "--format", "json").stdout.splitlines()]
    assert any(line["Repository"] == "mine" and line["Tag"] == "1" for line in lines)
    assert stasis("load", "-i", tmp_path / "nosuch.tar", check=False).returncode == 1
    (tmp_path / "bad.tar").write_text("this is no archive")
    assert stasis("load", "-i", tmp_path / "bad.tar", check=False).returncode == 1


def test_checkpoints(stasis):
    stasis("run", "-d", "--name", "c1", "busybox", "sh", "-c", COUNT)
    numbers = lambda: [int(n) for n in stasis("logs", "c1").stdout.split()]
    wait_until(lambda: len(numbers()) > 2, "it counts")
    assert stasis("checkpoint", "create", "--leave-running", "c1", "alive").stdout == "alive\n"
    assert stasis("checkpoint", "create", "c1", "cp1").stdout == "cp1\n"
    last = numbers()[-1]
    assert sorted(stasis("checkpoint", "ls", "c1").stdout.split()) == ["CHECKPOINT", "NAME", "alive", "cp1"]
    header, *lines = stasis("checkpoint", "ls", "-a").stdout.splitlines()
    assert header.split() == ["CONTAINER", "CHECKPOINT", "IMAGE", "CREATED", "SIZE", "NEW", "FROZEN"]
    assert sorted(line.split()[:2] for line in lines) == [["c1", "alive"], ["c1", "cp1"]]
    rows = [json.loads(line) for line in stasis("checkpoint", "ls", "-a", "--format", "json").stdout.splitlines()]
    assert all(row["Image"] == "busybox" for row in rows)
    assert all(row["Bytes"] > 0 and row["StoredBytes"] > 0 and row["FrozenMicroseconds"] > 0 for row in rows)
    report = stasis("checkpoint", "inspect", "c1", "cp1").stdout
    for part in ("CRIU: 4.", "Kernel: " + os.uname().release, "Process tree", "[1]  sh", "Prepared: ", "Frozen: ", "Dump: ", "Files: ",
                 "new in the store ", "pages"):
        assert part in report, report
    assert json.loads(stasis("checkpoint", "inspect", "--format", "json", "c1", "cp1").stdout)["name"] == "cp1"
    assert stasis("start", "--checkpoint", "cp1", "c1").stdout == "c1\n"
    wait_until(lambda: len(numbers()) > last + 2, "it counts on")
    seen = numbers()
    assert seen == list(range(1, len(seen) + 1))
    stasis("checkpoint", "rm", "c1", "cp1")
    assert stasis("checkpoint", "ls", "c1").stdout.split() == ["CHECKPOINT", "NAME", "alive"]
    result = stasis("checkpoint", "rm", "c1", "cp1", check=False)
    assert result.returncode == 1 and "checkpoint cp1 does not exist for container" in result.stderr


def test_start_attached_from_a_checkpoint(stasis, tmp_path):
    stasis("run", "-d", "--name", "c1", "busybox", "sh", "-c", "sleep 2; echo woke; exit 6")
    stasis("checkpoint", "create", "--checkpoint-dir", tmp_path, "c1", "cp")
    result = stasis("start", "-a", "--checkpoint", "cp", "--checkpoint-dir", tmp_path, "c1", check=False)
    assert (result.stdout, result.returncode) == ("woke\n", 6)


def test_version_tells_both_sides(stasis):
    version = json.loads(stasis("version", "--format", "json").stdout)
    assert version["Client"]["ApiVersion"] == version["Server"]["ApiVersion"] == "1.47"
    assert "Server:" in stasis("version").stdout


@pytest.mark.parametrize("moment", ["a process is dumped", "a container runs"])
def test_an_interrupted_doctor_leaves_nothing(stasis, moment):
    def left():
        mounts = open("/proc/self/mounts").read()
        groups = subprocess.run(["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", "stasis-doctor-*"], capture_output=True, text=True)
        names = {name for name in os.listdir("/tmp") + os.listdir("/var/lib") if name.startswith("stasis-doctor-")}
        return names | set(groups.stdout.split()) | {line for line in mounts.splitlines() if "stasis-doctor" in line}

    def begun():
        places = [f"/tmp/{name}" for name in os.listdir("/tmp") if name.startswith("stasis-doctor-")]
        return any(os.path.exists(place + ("/answers" if moment == "a process is dumped" else "/first")) for place in places)

    before = left()
    doctor = subprocess.Popen([STASIS, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: begun() or doctor.poll() is not None, "it has begun")
    doctor.send_signal(signal.SIGINT)
    _, errors = doctor.communicate(timeout=60)
    assert doctor.returncode == 130 and "interrupted" in errors, errors
    assert left() == before


def test_doctor_finds_this_machine_fit_and_leaves_nothing(stasis, tmp_path):
    before = sorted(os.listdir("/tmp"))
    result = stasis("doctor", "--format", "json", check=False)
    checks = {check["Name"]: check for check in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    assert checks["criu dump, restore"]["Verdict"] == "ok"
    assert checks["criu preload"]["Verdict"] == "ok"
    assert checks["runc container"]["Verdict"] in ("ok", "SKIPPED")
    assert [name for name in os.listdir("/tmp") if name not in before and "doctor" in name] == []
    assert "stasis-doctor" not in open("/proc/self/mounts").read()
    alone = subprocess.run([shutil.copy(BIN / "stasis", tmp_path), "doctor", "--format", "json"], stdout=subprocess.PIPE, check=False)
    preload = next(check for check in json.loads(alone.stdout) if check["Name"] == "criu preload")
    assert alone.returncode == 1 and preload["Verdict"] == "FAIL" and "stasis-criu-preload.so" in preload["Detail"]
    result = stasis("doctor", "--criu", "/nonexistent", check=False)
    assert result.returncode == 1 and "FAIL     criu" in result.stdout and "-> run scripts/setup" in result.stdout
