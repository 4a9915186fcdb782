"""The life of a container, by the stock docker CLI."""

import json
import os
import re
import subprocess
import time

import pytest

from harness import build_program, wait_until


def test_run_prints_output_and_passes_the_exit_code(engine):
    result = engine.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 7)
    assert engine.out("ps", "-aq") == ""


def test_run_feeds_stdin(engine):
    result = engine.docker("run", "--rm", "-i", "busybox", "wc", "-c", input="x" * 100_000)
    assert result.stdout.strip() == "100000"


def test_no_output_of_a_short_run_is_lost(engine):
    for _ in range(10):
        assert engine.out("run", "--rm", "busybox", "seq", "1000").split() == [str(n) for n in range(1, 1001)]


def test_unknown_things_are_told_as_docker_tells_them(engine):
    result = engine.docker("inspect", "--type", "container", "nosuch", check=False)
    assert "No such container: nosuch" in result.stderr
    result = engine.docker("start", "nosuch", check=False)
    assert "No such container: nosuch" in result.stderr and result.returncode == 1
    result = engine.docker("run", "--rm", "busybox", "nosuchprogram", check=False)
    assert result.returncode == 127
    assert "executable file not found" in result.stderr
    result = engine.docker("run", "--rm", "busybox", "/etc", check=False)
    assert result.returncode == 126
    assert engine.out("ps", "-aq") == ""


def test_names_are_unique_and_checked(engine):
    engine.docker("create", "--name", "one", "busybox", "true")
    result = engine.docker("create", "--name", "one", "busybox", "true", check=False)
    assert 'Conflict. The container name "/one" is already in use by container' in result.stderr
    result = engine.docker("create", "--name", "-bad", "busybox", "true", check=False)
    assert "Invalid container name (-bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" in result.stderr


def test_stop_kill_restart_and_wait(engine):
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    engine.docker("stop", "c1")
    assert engine.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
    engine.docker("start", "c1")
    engine.docker("kill", "c1")
    assert engine.out("wait", "c1") == "137"
    assert engine.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    engine.docker("restart", "c1")
    assert engine.inspect("c1", "{{.State.Running}}") == "true"
    result = engine.docker("rm", "c1", check=False)
    assert "container is running" in result.stderr
    engine.docker("rm", "-f", "c1")
    result = engine.docker("kill", "c1", check=False)
    assert "No such container" in result.stderr


def test_a_kill_is_answered_when_the_container_has_ended(engine):
    for _ in range(10):
        engine.docker("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
        engine.docker("kill", "c1")
        engine.docker("rm", "c1")


def test_a_kill_calls_the_restart_policy_off(engine):
    engine.docker("run", "-d", "--name", "c1", "--restart", "always", "busybox", "false")
    # Each pause is twice as long as the one before.
    wait_until(lambda: engine.inspect("c1", "{{.RestartCount}} {{.State.Restarting}}") == "4 true", "it waits for its policy")
    engine.docker("kill", "c1")
    # On a busy machine the policy may have started it once more by then: it was killed while it ran, and stays so.
    assert engine.inspect("c1", "{{.State.Status}} {{.State.Restarting}} {{.State.Running}}") == "exited false false"
    assert engine.inspect("c1", "{{.State.ExitCode}}") in ("1", "137")
    engine.docker("rm", "c1")


def test_a_stop_goes_on_when_its_client_is_gone(engine):
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c", "trap 'echo no' TERM; while :; do sleep 0.1; done")
    wait_until(lambda: "Up" in engine.out("ps", "--format", "{{.Status}}"), "it runs")
    with subprocess.Popen(["docker", "-H", engine.host, "stop", "-t", "2", "c1"], stdout=subprocess.DEVNULL) as stop:
        wait_until(lambda: "no" in engine.out("logs", "c1"), "it was asked to end")
        stop.kill()
    wait_until(lambda: engine.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137", "it is ended by force")


def test_with_rm_nothing_is_there_when_a_start_has_failed(engine):
    code, answer = engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["nosuch"], "HostConfig": {"AutoRemove": True}})
    assert code == 201
    assert engine.api("POST", f"/containers/{answer['Id']}/start")[0] == 400
    assert engine.api("GET", f"/containers/{answer['Id']}/json")[0] == 404


def test_threads_that_end_in_an_exec_can_be_paused(engine, tmp_path):
    program = build_program("execs", tmp_path)
    engine.docker("run", "-d", "--name", "c1", "-v", f"{program}:/execs:ro", "busybox", "/execs")
    for _ in range(8):
        engine.docker("pause", "c1")
        engine.docker("unpause", "c1")
    before = len(engine.numbers("c1"))
    wait_until(lambda: len(engine.numbers("c1")) > before, "it goes on")


def test_kill_of_a_stopped_container_is_refused(engine):
    engine.docker("create", "--name", "c1", "busybox", "true")
    result = engine.docker("kill", "c1", check=False)
    assert "is not running" in result.stderr


def test_pause_stands_still(engine):
    engine.counter("c1")
    engine.docker("pause", "c1")
    assert engine.inspect("c1", "{{.State.Status}} {{.State.Paused}}") == "paused true"
    before = engine.numbers("c1")
    time.sleep(0.5)
    assert engine.numbers("c1") == before
    engine.docker("unpause", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > len(before), "it counts on")


def test_logs_select_and_follow(engine):
    engine.docker("run", "--name", "c1", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; echo e >&2")
    assert engine.out("logs", "--tail", "2", "c1") in ("4\n5", "5")
    result = engine.docker("logs", "c1")
    assert result.stdout.split() == ["1", "2", "3", "4", "5"] and result.stderr == "e\n"
    line = engine.out("logs", "-t", "--tail", "6", "c1").splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1$", line)
    assert engine.out("logs", "--since", "1h", "c1").split() == ["1", "2", "3", "4", "5"]
    assert engine.out("logs", "--until", "2020-01-01T00:00:00Z", "c1") == ""
    engine.docker("run", "-d", "--name", "d1", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert engine.out("logs", "-f", "d1").split() == ["1", "2", "3"]


def test_logs_are_rotated(engine):
    engine.docker("run", "--name", "c1", "--log-opt", "max-size=10k", "--log-opt", "max-file=2", "busybox", "seq", "1",
                  "2000")
    numbers = engine.numbers("c1")
    assert numbers[-1] == 2000 and numbers[0] > 1
    assert numbers == list(range(numbers[0], 2001))


def test_logs_of_a_container_that_keeps_none(engine):
    engine.docker("run", "--name", "c1", "--log-driver", "none", "busybox", "echo", "gone")
    result = engine.docker("logs", "c1", check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr == "Error response from daemon: configured logging driver does not support reading\n"
    assert engine.api("GET", "/containers/c1/logs?stdout=1") == (
        501, {"message": "configured logging driver does not support reading"})


def test_exec(engine):
    engine.docker("run", "-d", "--name", "c1", "-e", "A=1", "busybox", "sleep", "1000")
    assert engine.out("exec", "-e", "B=2", "-w", "/tmp", "c1", "sh", "-c", "echo $A $B $(pwd)") == "1 2 /tmp"
    assert engine.docker("exec", "c1", "sh", "-c", "exit 9", check=False).returncode == 9
    assert engine.docker("exec", "-i", "c1", "cat", input="hello").stdout == "hello"
    assert engine.out("exec", "-u", "1000:1000", "c1", "id", "-u") == "1000"
    result = engine.docker("exec", "c1", "nosuchprogram", check=False)
    assert result.returncode == 127, result
    assert engine.inspect("c1", "{{.State.Running}}") == "true"


def test_exec_carries_twenty_megabytes(engine):
    engine.docker("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
    result = engine.docker("exec", "c1", "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x")
    assert len(result.stdout) == 20_000_000


def test_terminal(engine):
    script = subprocess.run(
        ["script", "-qec", f"docker -H {engine.host} run --rm -it busybox sh -c 'tty; stty size; echo done'", "/dev/null"],
        capture_output=True, text=True, timeout=60)
    assert "/dev/pts/0" in script.stdout and "done" in script.stdout


def test_attach_sees_output_and_gives_input(engine):
    engine.docker("run", "-d", "-i", "--name", "c1", "busybox", "cat")
    with subprocess.Popen(["docker", "-H", engine.host, "attach", "c1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as attached:
        attached.stdin.write("ping\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "ping\n"
        engine.docker("kill", "c1")
        attached.communicate(timeout=20)


def test_configuration_reaches_the_container(engine):
    out = engine.out("run", "--rm", "--hostname", "h1", "-w", "/tmp", "-e", "X=y", "--memory", "64m", "--pids-limit", "50",
                     "--read-only", "--tmpfs", "/scratch:size=1m", "-u", "1234:5678", "busybox", "sh", "-c",
                     "hostname; pwd; echo $X; id -u; id -g; touch /scratch/a && echo tmpfs; touch /b 2>/dev/null || echo ro")
    assert out.split() == ["h1", "/tmp", "y", "1234", "5678", "tmpfs", "ro"]


def test_binds(engine, tmp_path):
    (tmp_path / "in").write_text("from the host")
    out = engine.out("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "sh", "-c",
                     "cat /data/in; touch /data/x 2>/dev/null || echo ' ro'")
    assert out == "from the host ro"
    engine.docker("run", "--rm", "--mount", f"type=bind,source={tmp_path},target=/data", "busybox", "sh", "-c",
                  "echo back > /data/out")
    assert (tmp_path / "out").read_text() == "back\n"


def test_capabilities_and_seccomp(engine):
    assert engine.out("run", "--rm", "busybox", "sh", "-c", "grep CapEff /proc/self/status").split()[1] == "00000000a80425fb"
    assert engine.out("run", "--rm", "--cap-drop", "ALL", "busybox", "grep", "CapEff", "/proc/self/status").split()[1] == "0" * 16
    assert engine.out("run", "--rm", "busybox", "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"
    for option in ("seccomp=unconfined", "seccomp:unconfined"):
        assert engine.out("run", "--rm", "--security-opt", option, "busybox", "grep", "Seccomp:",
                          "/proc/self/status").split()[1] == "0"


def test_oom_kill_is_told_apart(engine):
    result = engine.docker("run", "--name", "c1", "--memory", "16m", "busybox", "sh", "-c",
                           "x=x; while :; do x=$x$x$x$x; done", check=False)
    assert result.returncode == 137
    assert engine.inspect("c1", "{{.State.OOMKilled}}") == "true"


def test_publishing_a_port_is_refused_until_there_are_bridges(engine):
    result = engine.docker("run", "--rm", "-p", "8080:80", "busybox", "true", check=False)
    assert result.returncode != 0 and "port" in result.stderr


def test_network_modes(engine):
    assert engine.out("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo"
    engine.docker("run", "-d", "--name", "a1", "busybox", "sleep", "1000")
    a = engine.out("exec", "a1", "readlink", "/proc/self/ns/net")
    assert engine.out("run", "--rm", "--network", "container:a1", "busybox", "readlink", "/proc/self/ns/net") == a


def test_the_hosts_ipc_namespace(engine):
    """Its message queues and its shared memory, also where the host itself has no /dev/mqueue."""
    engine.docker("run", "-d", "--ipc", "host", "--name", "c1", "busybox", "sleep", "1000")
    assert engine.out("exec", "c1", "readlink", "/proc/self/ns/ipc") == os.readlink("/proc/self/ns/ipc")
    engine.docker("exec", "c1", "touch", "/dev/mqueue/stasis-test", "/dev/shm/stasis-test")
    assert os.path.exists("/dev/shm/stasis-test")
    assert engine.out("run", "--rm", "--ipc", "host", "busybox", "ls", "/dev/mqueue/stasis-test") == "/dev/mqueue/stasis-test"
    assert engine.docker("run", "--rm", "busybox", "ls", "/dev/mqueue/stasis-test", check=False).returncode == 1
    engine.docker("exec", "c1", "rm", "/dev/mqueue/stasis-test", "/dev/shm/stasis-test")
    assert not os.path.exists("/dev/shm/stasis-test")


def test_list_filters(engine):
    engine.docker("create", "--name", "one", "--label", "k=v", "busybox", "true")
    engine.counter("two")
    assert engine.out("ps", "--format", "{{.Names}}") == "two"
    assert engine.out("ps", "-a", "--format", "{{.Names}}", "--filter", "label=k=v") == "one"
    assert engine.out("ps", "-a", "--format", "{{.Names}}", "--filter", "status=created") == "one"
    assert engine.out("ps", "-a", "--format", "{{.Names}}", "--filter", "name=tw") == "two"
    assert engine.out("ps", "-n", "1", "--format", "{{.Names}}") == "two"


def test_events_tell_a_life(engine):
    since = time.time()
    engine.docker("run", "--rm", "--name", "c1", "busybox", "true")
    events = [json.loads(line) for line in
              engine.out("events", "--since", f"{since:.9f}", "--until", f"{time.time() + 0.5:.9f}", "--filter",
                         "type=container", "--format", "{{json .}}").splitlines()]
    actions = [event["Action"] for event in events]
    assert [a for a in actions if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"]
    assert next(e for e in events if e["Action"] == "die")["Actor"]["Attributes"]["exitCode"] == "0"


def test_ids_work_by_prefix_and_name(engine):
    full = engine.out("create", "--name", "c1", "busybox", "true")
    for reference in (full, full[:12], full[:4], "c1"):
        assert engine.inspect(reference, "{{.Id}}") == full


def test_images(engine, tmp_path):
    assert "busybox" in engine.out("images", "--format", "{{.Repository}}")
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", "/bin", "-cf", tar, "--transform", "s,^,bin/,", "busybox"], check=True)
    with open(tar, "rb") as file:
        subprocess.run(["docker", "-H", engine.host, "import", "-c", 'CMD ["/bin/busybox","echo","imported"]', "-",
                        "mine:1"], stdin=file, check=True, capture_output=True)
    assert engine.out("run", "--rm", "mine:1") == "imported"
    engine.docker("create", "--name", "user", "mine:1")
    result = engine.docker("rmi", "mine:1", check=False)
    assert result.returncode != 0 and "container" in result.stderr
    engine.docker("rm", "user")
    engine.docker("rmi", "mine:1")
    assert "No such image" in engine.docker("inspect", "--type", "image", "mine:1", check=False).stderr


def test_platforms(engine, tmp_path):
    native = engine.inspect("busybox", "{{.Os}}/{{.Architecture}}")
    other = "linux/s390x"
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", "/bin", "-cf", tar, "--transform", "s,^,bin/,", "busybox"], check=True)
    engine.docker("import", "--platform", other, "-c", 'CMD ["/bin/busybox","true"]', tar, "foreign:1")
    assert engine.inspect("foreign:1", "{{.Os}}/{{.Architecture}}") == other

    result = engine.docker("create", "--pull", "never", "--platform", other, "busybox", "true", check=False)
    assert result.returncode == 1
    assert (f"Error response from daemon: image with reference busybox was found but its platform ({native}) does not match "
            f"the specified platform ({other})") in result.stderr
    body = {"Image": "busybox", "Cmd": ["true"]}
    assert engine.api("POST", f"/containers/create?platform={other}", body)[0] == 404
    code, answer = engine.api("POST", "/containers/create?platform=plan10", body)
    assert code == 400 and answer["message"] == '"plan10": unknown operating system or architecture: invalid argument'

    engine.docker("create", "--platform", native, "busybox", "true")
    assert engine.docker("create", "--platform", other, "foreign:1").stderr == ""
    warned = engine.docker("create", "foreign:1").stderr
    assert (f"The requested image's platform ({other}) does not match the detected host platform ({native}) and no specific "
            "platform was requested") in warned
    engine.remove_all()
    engine.docker("rmi", "foreign:1")


@pytest.mark.parametrize("arguments", [("network", "create", "n"), ("volume", "create", "v"), ("pull", "nosuch"), ("system", "df")])
def test_what_is_not_there_yet_says_so(engine, arguments):
    result = engine.docker(*arguments, check=False)
    assert result.returncode != 0
    assert "not" in result.stderr.lower()


def test_everything_is_found_again_after_both_daemons_died(engine):
    engine.counter("runs")
    engine.docker("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 5")
    engine.kill_daemons()
    time.sleep(1.5)  # "ends" ends while nobody looks: the time is the program's own
    engine.start()
    assert engine.inspect("runs", "{{.State.Status}}") == "running"
    wait_until(lambda: engine.inspect("ends", "{{.State.Status}} {{.State.ExitCode}}") == "exited 5",
               "the exit code is known")
    numbers = engine.numbers("runs")
    assert numbers == list(range(1, len(numbers) + 1)), "no line was lost"
    assert engine.out("exec", "runs", "echo", "still there") == "still there"
