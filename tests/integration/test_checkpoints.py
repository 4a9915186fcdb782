"""Checkpoints: what the product is for, by the stock docker CLI."""

import shutil
import subprocess
import threading
import time

from harness import build_program, wait_until


def wait_for_more(engine, name, count):
    wait_until(lambda: len(engine.numbers(name)) > count, f"{name} counts on")


def assert_counts_on(engine, name):
    """The log is 1, 2, 3, ... without a gap or a repetition: memory, files and log went on together."""
    numbers = engine.numbers(name)
    assert numbers == list(range(1, len(numbers) + 1)), numbers


def test_a_counter_goes_on_from_the_very_number(engine):
    engine.counter("c1")
    assert engine.out("checkpoint", "create", "c1", "cp1") == "cp1"
    assert engine.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME", "cp1"]
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", before + 2)
    assert_counts_on(engine, "c1")


def test_leave_running_and_back_in_time(engine):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    at_checkpoint = len(engine.numbers("c1"))
    wait_for_more(engine, "c1", at_checkpoint + 3)
    assert engine.inspect("c1", "{{.State.Status}}") == "running"
    engine.docker("stop", "-t", "0", "c1")
    ended = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", ended)
    assert engine.numbers("c1")[ended] <= at_checkpoint + 1, "it is back where it was"


def test_docker_page_example_word_for_word(engine):
    """The example on docker's own page for `docker checkpoint`."""
    subprocess.run(
        ["bash", "-ec", """
docker run --security-opt=seccomp:unconfined --name cr -d busybox /bin/sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 1; done'
docker checkpoint create cr checkpoint1
docker start --checkpoint checkpoint1 cr
"""], check=True, env={"DOCKER_HOST": engine.host, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(engine.directory)})
    wait_until(lambda: len(engine.numbers("cr")) >= 2, "it counts")
    numbers = engine.numbers("cr")
    assert numbers == list(range(len(numbers)))


def test_ten_checkpoints_each_restored(engine):
    engine.counter("c1")
    marks = []
    for n in range(10):
        engine.docker("checkpoint", "create", "--leave-running", "c1", f"cp{n}")
        marks.append(engine.numbers("c1")[-1])
        wait_for_more(engine, "c1", marks[-1])
    assert sorted(engine.out("checkpoint", "ls", "c1").split()[2:]) == sorted(f"cp{n}" for n in range(10))
    for n in range(10):
        engine.docker("kill", "c1")
        engine.out("wait", "c1")
        ended = len(engine.numbers("c1"))
        engine.docker("start", "--checkpoint", f"cp{n}", "c1")
        wait_for_more(engine, "c1", ended)
        assert engine.numbers("c1")[ended] <= marks[n] + 1


def test_a_chain_of_twenty(engine):
    engine.counter("c1")
    for n in range(20):
        engine.docker("checkpoint", "create", "c1", f"cp{n}")
        before = len(engine.numbers("c1"))
        engine.docker("start", "--checkpoint", f"cp{n}", "c1")
        wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")


def test_exec_attach_and_logs_work_after_a_restore(engine):
    engine.docker("run", "-d", "-i", "--name", "c1", "busybox", "cat")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    assert engine.out("exec", "c1", "echo", "hello") == "hello"
    with subprocess.Popen(["docker", "-H", engine.host, "attach", "c1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as attached:
        attached.stdin.write("ping\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "ping\n"
        engine.docker("kill", "c1")
        attached.communicate(timeout=20)


def test_checkpoint_dir_at_create_ls_rm_and_start_also_into_another_container(engine, tmp_path):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path, "c1", "cp")
    assert (tmp_path / "cp").is_dir()
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME"]
    assert engine.out("checkpoint", "ls", "--checkpoint-dir", tmp_path, "c1").split()[-1] == "cp"
    last = engine.numbers("c1")[-1]
    engine.docker("create", "--name", "c2", "busybox", "sh", "-c",
                  "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
    engine.docker("start", "--checkpoint-dir", tmp_path, "--checkpoint", "cp", "c2")
    wait_until(lambda: engine.numbers("c2"), "c2 goes on")
    assert engine.numbers("c2")[0] == last + 1
    assert engine.out("exec", "c2", "echo", "in c2") == "in c2"
    engine.docker("rm", "-f", "c1", "c2")
    assert (tmp_path / "cp").is_dir(), "a CheckpointDir is not the container's own"
    engine.docker("create", "--name", "c3", "busybox", "true")
    engine.docker("checkpoint", "rm", "--checkpoint-dir", tmp_path, "c3", "cp")
    assert not (tmp_path / "cp").exists()


def test_rm_deletes_the_own_checkpoints(engine):
    engine.counter("c1")
    container = engine.inspect("c1", "{{.Id}}")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.docker("rm", "c1")
    assert not list(engine.root.rglob(f"*{container}*"))


def test_errors_are_dockers(engine):
    def message(*arguments):
        result = engine.docker(*arguments, check=False)
        assert result.returncode == 1
        return result.stderr

    engine.docker("create", "--name", "stopped", "busybox", "true")
    engine.counter("c1")
    assert "No such container: nosuch" in message("checkpoint", "create", "nosuch", "cp1")
    assert "not running" in message("checkpoint", "create", "stopped", "cp1")
    assert ("Invalid checkpoint ID (../evil), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            in message("checkpoint", "create", "c1", "../evil"))
    assert "Invalid checkpoint ID" in message("start", "--checkpoint", "../../x", "stopped")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    assert "checkpoint with name cp1 already exists for container c1" in message("checkpoint", "create", "c1", "cp1")
    assert "checkpoint cp2 does not exist for container" in message("checkpoint", "rm", "c1", "cp2")
    assert "does not exist" in message("start", "--checkpoint", "nosuch", "stopped")
    engine.docker("checkpoint", "rm", "c1", "cp1")
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME"]


def test_codes_of_the_checkpoint_routes(engine):
    engine.counter("c1")
    assert engine.api("GET", "/containers/c1/checkpoints") == (200, [])
    assert engine.api("POST", "/containers/c1/checkpoints", {"CheckpointID": "cp1", "Exit": False})[0] == 201
    assert engine.api("GET", "/containers/c1/checkpoints") == (200, [{"Name": "cp1"}])
    assert engine.api("POST", "/containers/c1/checkpoints", {"CheckpointID": "cp1"})[0] == 409
    assert engine.api("POST", "/containers/c1/checkpoints", {"CheckpointID": "a/b"})[0] == 400
    assert engine.api("POST", "/containers/nosuch/checkpoints", {"CheckpointID": "cp1"})[0] == 404
    assert engine.api("POST", "/containers/c1/start?checkpoint=cp1")[0] == 409
    assert engine.api("DELETE", "/containers/c1/checkpoints/cp1") == (204, None)
    assert engine.api("DELETE", "/containers/c1/checkpoints/cp1")[0] == 404
    engine.docker("kill", "c1")
    engine.out("wait", "c1")
    assert engine.api("POST", "/containers/c1/checkpoints", {"CheckpointID": "cp1"})[0] == 409
    assert engine.api("POST", "/containers/c1/start?checkpoint=cp1")[0] == 404


def test_checkpoint_event(engine):
    since = time.time()
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    events = engine.out("events", "--since", f"{since:.9f}", "--until", f"{time.time() + 0.5:.9f}", "--filter",
                        "event=checkpoint", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
    assert events == "checkpoint c1"


def test_a_paused_container_stays_and_comes_back_paused(engine):
    engine.counter("c1")
    engine.docker("pause", "c1")
    before = engine.numbers("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    assert engine.inspect("c1", "{{.State.Status}}") == "paused"
    assert engine.numbers("c1") == before
    engine.docker("kill", "c1")
    engine.out("wait", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    assert engine.inspect("c1", "{{.State.Status}}") == "paused"
    engine.docker("unpause", "c1")
    wait_for_more(engine, "c1", len(before))
    assert_counts_on(engine, "c1")


def test_checkpoint_with_exit_counts_as_the_users_stop(engine):
    engine.counter("always", "--restart", "always")
    engine.docker("checkpoint", "create", "always", "cp1")
    time.sleep(0.5)  # a restart policy would have acted by now
    assert engine.inspect("always", "{{.State.Status}}") == "exited"
    engine.counter("temporary", "--rm")
    engine.docker("checkpoint", "create", "temporary", "cp1")
    assert engine.inspect("temporary", "{{.State.Status}}") == "exited"
    before = len(engine.numbers("temporary"))
    engine.docker("start", "--checkpoint", "cp1", "temporary")
    wait_for_more(engine, "temporary", before)
    assert_counts_on(engine, "temporary")


def test_a_second_checkpoint_at_once_is_refused_and_others_go_on(engine):
    """While one container with much memory is checkpointed, calls on it and on others answer at once."""
    engine.docker("run", "-d", "--name", "big", "busybox", "sh", "-c",
                  "dd if=/dev/urandom of=/dev/shm/x bs=1M count=300 2>/dev/null; echo 1; sleep 1000", )
    wait_until(lambda: engine.numbers("big"), "memory is filled", 60)
    engine.counter("other")
    results = {}
    thread = threading.Thread(target=lambda: results.update(
        first=engine.docker("checkpoint", "create", "--leave-running", "big", "cp1", check=False)))
    thread.start()
    slowest = 0
    while thread.is_alive():
        begin = time.monotonic()
        engine.api("GET", "/containers/big/json")
        engine.api("GET", "/containers/json")
        engine.api("GET", "/containers/other/json")
        slowest = max(slowest, time.monotonic() - begin)
    thread.join()
    assert results["first"].returncode == 0, results["first"].stderr
    assert slowest < 3, "inspect and ps answered while the checkpoint ran"


def test_memory_file_systems_come_back_and_masked_paths_stay_masked(engine):
    engine.docker("run", "-dt", "--name", "c1", "--tmpfs", "/scratch:size=8m,mode=700", "busybox", "sh", "-c",
                  "umask 027; echo in shm > /dev/shm/a; chown 5:6 /dev/shm/a; mkdir -p /scratch/x/y; echo in scratch > /scratch/x/b; "
                  "dd if=/dev/urandom of=/scratch/large bs=1M count=3 2>/dev/null; ln -s /scratch /dev/link; mkfifo /dev/fifo; "
                  "echo in dev > /dev/plain; echo ready; sleep 1000")
    wait_until(lambda: "ready" in engine.out("logs", "c1"), "all is written")
    look = ["exec", "c1", "sh", "-c",
            "find /dev /scratch -path /dev/pts -prune -o -exec stat -c '%n %F %a %u %g %h %t:%T' {} +; "
            "find /dev/shm /scratch /dev/plain -type f -exec md5sum {} +; readlink /dev/link; "
            "for d in /sys/firmware /proc/acpi; do ls -A $d; touch $d/new 2>&1; grep -c \" $d tmpfs ro\" /proc/mounts; done"]
    before = sorted(engine.out(*look).splitlines())
    assert any("Read-only" in line for line in before) and len(before) > 25, before
    for number, leave in enumerate(([], ["--leave-running"], [])):
        engine.docker("checkpoint", "create", *leave, "c1", f"cp{number}")
        if leave:
            engine.docker("kill", "c1")
            engine.docker("wait", "c1")
        engine.docker("start", "--checkpoint", f"cp{number}", "c1")
        assert sorted(engine.out(*look).splitlines()) == before


def test_restore_after_both_daemons_were_killed(engine):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp0")
    engine.kill_daemons()
    engine.start()
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.kill_daemons()
    engine.start()
    before = len(engine.numbers("c1"))
    assert sorted(engine.out("checkpoint", "ls", "c1").split()[2:]) == ["cp0", "cp1"]
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")


def test_inspect_shows_the_manifest(engine):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    code, manifest = engine.api("GET", "/containers/c1/checkpoints/cp1/json")
    assert code == 200
    assert manifest["name"] == "cp1"
    assert manifest["frozen_us"] > 0
    assert [p["name"] for p in manifest["processes"]][:1] == ["sh"]
    assert manifest["freeze"] == "cow", manifest["freeze_reason"]
    engine.docker("checkpoint", "create", "c1", "cp2")
    _, manifest = engine.api("GET", "/containers/c1/checkpoints/cp2/json")
    assert manifest["freeze"] == "direct", manifest["freeze_reason"]
    assert 0 < manifest["memory_us"] < manifest["frozen_us"]


WORKLOAD = r"""
import os, select, signal, socket, struct, sys, threading, time

# Everything at once: threads, a child, pipes, a deleted open file, a timer, a pending blocked signal, tmpfs, TCP.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
deleted = open("/tmp/deleted", "w+b")
deleted.write(b"still here" * 400000)
deleted.flush()
os.unlink("/tmp/deleted")
open("/dev/shm/kept", "w").write("in tmpfs")
down, up = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    while True:
        data = os.read(down[0], 8)
        os.write(up[1], struct.pack("q", struct.unpack("q", data)[0] + 1))
listener = socket.socket()
listener.bind(("127.0.0.1", 7000))
listener.listen()
out = socket.create_connection(("127.0.0.1", 7000))
inside, _ = listener.accept()
ticks = [0]
def tick(*_):
    ticks[0] += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
sums = [0] * 4
def work(n):
    while True:
        sums[n] += 1
        time.sleep(0.01)
for n in range(4):
    threading.Thread(target=work, args=(n,), daemon=True).start()
n = 0
last = time.monotonic()
while True:
    os.write(down[1], struct.pack("q", n))
    n = struct.unpack("q", os.read(up[0], 8))[0]
    out.sendall(b"x")
    assert inside.recv(1) == b"x"
    before, ticked = list(sums), ticks[0]
    for _ in range(40):  # the clock runs on while a restore works: a sleep may end before anything else ran
        time.sleep(0.05)
        if ticks[0] > ticked and all(b > a for a, b in zip(before, sums)):
            break
    assert ticks[0] > ticked, "the timer stands"
    assert all(b > a for a, b in zip(before, sums)), "a thread stands"
    deleted.seek(0)
    assert deleted.read(10) == b"still here" and deleted.seek(0, 2) == 4000000
    assert open("/dev/shm/kept").read() == "in tmpfs"
    assert signal.SIGUSR1 in signal.sigpending()
    now = time.monotonic()
    assert now - last < 3, f"monotonic time jumped by {now - last}"
    last = now
    print(n, flush=True)
"""


def test_a_workload_with_everything(engine, image):
    def counts_on(more):
        before = len(engine.numbers("c1"))

        def counted():
            assert engine.docker("logs", "c1").stderr == ""  # the workload says what is wrong
            return len(engine.numbers("c1")) > before + more
        return counted

    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", WORKLOAD)
    wait_until(counts_on(2), "the workload runs")
    for n in range(3):
        engine.docker("checkpoint", "create", "c1", f"cp{n}")
        time.sleep(1)  # the restored program must not see this time
        goes_on = counts_on(2)
        engine.docker("start", "--checkpoint", f"cp{n}", "c1")
        wait_until(goes_on, "the workload goes on")
    assert_counts_on(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "alive")
    wait_until(counts_on(2), "the workload goes on")


def test_a_terminal_comes_back(engine):
    engine.docker("run", "-dit", "--name", "c1", "busybox", "sh", "-c",
                  "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    engine.docker("checkpoint", "create", "c1", "cp1")
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")
    assert engine.out("exec", "c1", "sh", "-c", "readlink /proc/1/fd/0") == "/dev/pts/0"


def test_many_restores_of_one_checkpoint(engine):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "c1", "cp1")
    first = engine.numbers("c1")[-1] + 1
    for _ in range(5):
        before = len(engine.numbers("c1"))
        engine.docker("start", "--checkpoint", "cp1", "c1")
        wait_for_more(engine, "c1", before)
        engine.docker("kill", "c1")
        engine.out("wait", "c1")
        assert engine.numbers("c1")[before] == first


def test_a_copied_checkpoint_dir_still_works(engine, tmp_path):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path / "a", "c1", "cp")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint-dir", tmp_path / "b", "--checkpoint", "cp", "c1")
    wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")


def test_another_container_must_have_the_same_options(engine, tmp_path):
    """Whatever else it was created with, CRIU would not bring it about: refused, not dropped."""
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path / "cps", "c1", "cp")
    (tmp_path / "data").mkdir()
    engine.docker("create", "--name", "c2", "--read-only", "--user", "nobody", "-v", f"{tmp_path}/data:/data", "busybox", "true")
    start = engine.docker("start", "--checkpoint-dir", tmp_path / "cps", "--checkpoint", "cp", "c2", check=False)
    assert start.returncode != 0
    assert "container c2 was not created with the options of the container that the checkpoint was made of" in start.stderr
    assert "the mount /data (bind), --user, --read-only" in start.stderr
    assert engine.inspect("c2", "{{.State.Status}}") == "created"


def test_binds_come_back_also_those_named_by_a_link(engine, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_text("a file\n")
    engine.docker("run", "-d", "--name", "c1", "-v", f"{tmp_path}/link:/data", "-v", f"{tmp_path}/file:/file:ro", "busybox", "sh",
                  "-c", "exec 3>/data/open; i=0; while :; do i=$((i+1)); echo $i; echo $i >&3; cat /file >/data/copy; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    assert engine.inspect("c1", '{{range .Mounts}}{{.Source}} {{end}}').split()[0] in (f"{tmp_path}/link", f"{tmp_path}/file")
    engine.docker("checkpoint", "create", "c1", "cp1")
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")
    wait_until(lambda: (tmp_path / "real/copy").read_text() == "a file\n", "the copy is whole")  # it is written anew each time


def test_waits_outlast_checkpoints_that_leave_them_running(engine, tmp_path):
    """CRIU's own dump would end them with EINTR (src/criu/preload/waits.c)."""
    program = build_program("waits", tmp_path)
    engine.docker("run", "-d", "--name", "c1", "-v", f"{program}:/waits:ro", "busybox", "/waits")

    def lines(word):
        return [line for line in engine.out("logs", "c1").splitlines() if line.startswith(word)]

    wait_until(lambda: lines("leader"), "it waits")
    for n in range(8):
        engine.docker("checkpoint", "create", "--leave-running", "c1", f"cp{n}")
    for name in ("nanosleep", "clock_nanosleep", "poll", "select", "condition", "leader"):
        before = len(lines(name))
        wait_until(lambda: len(lines(name)) > before + 1, f"{name} goes on")
    assert lines("WRONG") == []


def test_init_reaps_and_comes_back(engine):
    engine.docker("run", "-d", "--init", "--name", "c1", "busybox", "sh", "-c",
                  "i=0; while :; do i=$((i+1)); (sleep 0 &); echo $i; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    assert "docker-init" in engine.out("exec", "c1", "cat", "/proc/1/cmdline")
    engine.docker("checkpoint", "create", "c1", "cp1")
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp1", "c1")
    wait_for_more(engine, "c1", before)
    assert_counts_on(engine, "c1")
    assert " Z " not in engine.out("exec", "c1", "ps", "-o", "pid,stat,comm")


def test_threads_that_end_in_an_exec(engine, tmp_path):
    """A freezer of cgroup v1 that stops some of them keeps the others from a stop: they wait for each other's end."""
    program = build_program("execs", tmp_path)
    engine.docker("run", "-d", "--name", "c1", "-v", f"{program}:/execs:ro", "busybox", "/execs")
    wait_until(lambda: engine.numbers("c1"), "it executes itself")
    for n in range(4):
        engine.docker("checkpoint", "create", "--leave-running", "c1", f"cp{n}")
        before = len(engine.numbers("c1"))
        wait_until(lambda: len(engine.numbers("c1")) > before, "it goes on")
    engine.docker("checkpoint", "create", "c1", "cp")
    last = engine.numbers("c1")[-1]
    engine.docker("start", "--checkpoint", "cp", "c1")
    wait_until(lambda: engine.numbers("c1")[-1] > last, "it goes on after its restore")
    numbers = engine.numbers("c1")
    assert numbers == list(range(0, numbers[-1] + 1, 50)), numbers
