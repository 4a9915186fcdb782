"""SIGKILL of each program at each stage of a checkpoint and of a restore.

Afterwards the container runs or has cleanly exited, nothing half-made is listed or left on disk, nothing stays frozen, and
the next checkpoint and restore work. Only CRIU's own window may end the container: then it is reported as exited
(docs/contracts/shim.md); such runs are counted and printed.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness import processes_of, wait_until

# A stage is reached when its condition holds; the conditions look at the machine only.
CHECKPOINT_STAGES = {
    "started": lambda e: checkpointer_pids(e),
    "criu-started": lambda e: criu_pids(e),
    "frozen": lambda e: frozen(),
    "dumping": lambda e: staged(e, "criu/files.img"),
    "copied": lambda e: twins(e),
    "memory": lambda e: list(e.root.glob("checkpoint-store/packs/.partial-*")),
    "described": lambda e: staged(e, "manifest.json"),
    "published": lambda e: published(e),
}
RESTORE_STAGES = {
    "shim-started": lambda e: e.program_pids("stasis-shim"),
    "runc-started": lambda e: runc_restores(e),
    "criu-started": lambda e: criu_pids(e),
}
VICTIMS = ("stasisd", "stasis-supervisor", "stasis-checkpointer", "criu")
RESTORE_VICTIMS = ("stasisd", "stasis-supervisor", "stasis-checkpointer", "runc", "criu")
ALWAYS = {("stasisd", "frozen"), ("stasis-supervisor", "dumping"), ("stasis-checkpointer", "frozen"),
          ("criu", "dumping"), ("stasis-checkpointer", "described"), ("stasis-checkpointer", "memory"), ("criu", "memory")}
ALWAYS_RESTORE = {("stasisd", "runc-started"), ("stasis-supervisor", "runc-started"), ("criu", "criu-started")}


def criu_pids(engine):
    """CRIU below one of this engine's shims: its argument list alone does not say whose it is."""
    shims = set(engine.program_pids("stasis-shim"))
    found = []
    for name in ("criu", "3"):
        for pid, _ in processes_of(name):
            if ancestors(pid) & shims:
                found.append(pid)
    return found + [pid for pid, name in names_of_processes() if name == "criu" and ancestors(pid) & shims]


def checkpointer_pids(engine):
    """Those below one of this engine's shims: a checkpointer has no arguments."""
    shims = set(engine.program_pids("stasis-shim"))
    return [pid for pid, _ in processes_of("stasis-checkpointer") if ancestors(pid) & shims]


def twins(engine):
    """Copies of processes that a copy-on-write checkpoint has made, dead ones included; below this engine's shims."""
    shims = set(engine.program_pids("stasis-shim"))
    return [pid for pid, name in names_of_processes() if name == "stasis-twin" and ancestors(pid) & shims]


def names_of_processes():
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "comm").read_text().strip()
            except OSError:
                pass


def is_there(pid):
    """Not as a zombie: whose parent has died, nobody may reap."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ancestors(pid):
    seen = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        try:
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
    return seen


def runc_restores(engine):
    return [pid for pid, argv in processes_of("runc") if "restore" in argv and any(str(engine.directory) in a for a in argv)]


def freezer_files(container):
    return [*pathlib.Path("/sys/fs/cgroup/freezer/stasis").glob(f"{container}/freezer.state"),
            *pathlib.Path("/sys/fs/cgroup/stasis").glob(f"{container}/cgroup.freeze")]


def frozen(container="*"):
    """Whether the container of this id is, or any."""
    def is_frozen(path):
        try:
            return path.read_text().strip() in ("FROZEN", "FREEZING", "1")
        except OSError:
            return False
    return any(is_frozen(path) for path in freezer_files(container))


def staged(engine, name):
    return [p for p in engine.root.glob("containers/*/checkpoints/.*.partial-*") if (p / name).exists()]


def published(engine):
    return list(engine.root.glob("containers/*/checkpoints/cp/manifest.json"))


def victims(engine, program):
    if program == "criu":
        return criu_pids(engine)
    if program == "stasis-checkpointer":
        return checkpointer_pids(engine)
    if program == "runc":
        return runc_restores(engine)
    return engine.program_pids(program)


def kill_at(engine, stage, program, command):
    """Runs `command` and kills `program` as soon as `stage` is reached. Returns whether it was killed."""
    done = threading.Event()
    result = {}

    def run():
        result["exit"] = engine.docker(*command, check=False, timeout=90)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    killed = False
    while not done.is_set() and not killed:
        if stage(engine):
            for pid in victims(engine, program):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed = True
                except ProcessLookupError:
                    pass
        else:
            time.sleep(0.0005)
    thread.join()
    if killed and program == "stasisd":
        engine.daemon.wait(timeout=20)  # its client hears of it sooner
    return killed, result["exit"]


def settle(engine):
    """The engine is back, and nothing of the interrupted call goes on."""
    if engine.daemon.poll() is not None:
        engine.start()
    wait_until(lambda: engine.docker("ps", check=False).returncode == 0, "the engine answers")
    wait_until(lambda: not criu_pids(engine) and not runc_restores(engine), "no CRIU and no runc is left", 60)
    wait_until(lambda: not frozen(), "nothing is frozen", 60)
    wait_until(lambda: not staged(engine, "."), "nothing half-made is left", 60)
    wait_until(lambda: not twins(engine), "no copy of a process is left", 60)


@pytest.fixture
def workload(engine):
    """A counter with 64 MiB in tmpfs and 32 in memory, so that each stage takes a while. It says BAD where a sum is wrong; one that is
    not taken to its end is not: a killed CRIU may take any process along in its own window, md5sum too (docs/adr/0002)."""
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c",
                  "dd if=/dev/urandom of=/dev/shm/x bs=1M count=64 2>/dev/null; sum=$(md5sum < /dev/shm/x); "
                  "memory=$(head -c 32000000 /dev/zero | tr '\\0' x); i=0; "
                  "while :; do i=$((i+1)); now=$(md5sum < /dev/shm/x) || now=$sum; [ \"$now\" = \"$sum\" ] || echo BAD; echo $i; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts", 60)
    return "c1"


def assert_sound(engine, container, record_property):
    before = len(engine.numbers(container))

    def settled_state():
        """An exit is told once all of our programs are back."""
        state = engine.inspect(container, "{{.State.Status}}")
        assert state in ("running", "exited"), state
        return state if state == "exited" or len(engine.numbers(container)) > before else None

    state = wait_until(settled_state, "it counts on, or has exited")
    record_property("state_after", state)
    for name in engine.out("checkpoint", "ls", container).split()[2:]:
        assert name in ("cp", "before")
    if state == "exited":
        engine.docker("start", "--checkpoint", "before", container)
    assert "BAD" not in engine.out("logs", container)
    engine.docker("checkpoint", "create", container, "after")
    before = len(engine.numbers(container))
    engine.docker("start", "--checkpoint", "after", container)
    wait_until(lambda: len(engine.numbers(container)) > before, "it counts on")
    assert "BAD" not in engine.out("logs", container)


def pytest_generate_tests(metafunc):
    every = metafunc.config.getoption("--all-kill-points")
    if "checkpoint_kill" in metafunc.fixturenames:
        points = [(v, s) for s in CHECKPOINT_STAGES for v in VICTIMS if every or (v, s) in ALWAYS]
        metafunc.parametrize("checkpoint_kill", points, ids=[f"{v}-{s}" for v, s in points])
    if "restore_kill" in metafunc.fixturenames:
        points = [(v, s) for s in RESTORE_STAGES for v in RESTORE_VICTIMS if every or (v, s) in ALWAYS_RESTORE]
        metafunc.parametrize("restore_kill", points, ids=[f"{v}-{s}" for v, s in points])


@pytest.mark.parametrize("leave_running", [True, False], ids=["leave-running", "exit"])
def test_kill_during_a_checkpoint(engine, workload, checkpoint_kill, leave_running, record_property):
    program, stage = checkpoint_kill
    engine.docker("checkpoint", "create", "--leave-running", "c1", "before")
    command = ["checkpoint", "create", *(["--leave-running"] if leave_running else []), "c1", "cp"]
    killed, result = kill_at(engine, CHECKPOINT_STAGES[stage], program, command)
    settle(engine)
    if not killed:
        assert result.returncode == 0, result.stderr
        pytest.skip(f"{program} was not there at stage {stage}")
    if program == "stasis-checkpointer" and stage == "published":
        assert result.returncode == 0, "past the point of no return, and yet: " + result.stderr
    if engine.inspect("c1", "{{.State.Status}}") == "exited":
        # Only a finished checkpoint with exit, or CRIU's own window, may end it.
        if program != "criu" and stage not in ("dumping", "frozen"):
            assert not leave_running and published(engine), result.stderr
        print(f"{program} killed at {stage}: the container ended; checkpoint kept: {bool(published(engine))}")
    assert_sound(engine, "c1", record_property)


def test_kill_during_a_restore(engine, workload, restore_kill, record_property):
    program, stage = restore_kill
    engine.docker("checkpoint", "create", "c1", "before")
    engine.out("wait", "c1")
    wait_until(lambda: not engine.program_pids("stasis-shim"), "the shim has ended")
    killed, result = kill_at(engine, RESTORE_STAGES[stage], program, ["start", "--checkpoint", "before", "c1"])
    settle(engine)
    if not killed:
        pytest.skip(f"{program} was not there at stage {stage} (exit {result.returncode})")
    wait_until(lambda: engine.inspect("c1", "{{.State.Status}}") in ("running", "exited"), "the state is clear")
    assert_sound(engine, "c1", record_property)


def restore_log_has(engine, line):
    return any(line in log.read_text(errors="replace") for log in engine.root.glob("containers/*/restore/restore.log"))


def asks(engine):
    """A CRIU waits for an answer: /proc/PID/syscall begins with the number of recvfrom."""
    for pid in criu_pids(engine):
        try:
            if pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] == "45":
                return True
        except OSError:
            pass
    return False


def begin_restore(engine):
    """The thread of a start of c1 from its checkpoint "before", and the list into which it puts docker's answer."""
    results = []
    thread = threading.Thread(target=lambda: results.append(engine.docker("start", "--checkpoint", "before", "c1", check=False)))
    thread.start()
    return thread, results


def kill_where_memory_is_awaited(engine, program):
    """docker's answer to the start; None where CRIU had its memory before we could stop who gives it."""
    start, results = begin_restore(engine)
    [checkpointer] = wait_until(lambda: checkpointer_pids(engine), "the checkpoint is opened")
    try:
        while not results and not restore_log_has(engine, "Forking task with 1 pid"):
            pass  # it has its images, and asks for memory within 20 ms
        with contextlib.suppress(ProcessLookupError):
            os.kill(checkpointer, signal.SIGSTOP)
        wait_until(lambda: results or (restore_log_has(engine, "Running pre-resume scripts") and asks(engine)), "CRIU asks for it")
        if results:
            return None
        for victim in victims(engine, program):
            os.kill(victim, signal.SIGKILL)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(checkpointer, signal.SIGCONT)
        start.join()
    return results[0]


@pytest.mark.parametrize("program", ["criu", "stasis-checkpointer", "runc"])
def test_nothing_runs_without_its_memory(engine, program):
    """All processes are there, CRIU holds them, and their memory is still to be written (docs/adr/0007)."""
    engine.counter("c1")
    engine.docker("checkpoint", "create", "c1", "before")
    for _ in range(5):
        engine.out("wait", "c1")
        last = engine.numbers("c1")[-1]
        result = kill_where_memory_is_awaited(engine, program)
        if result is not None:
            break
        engine.docker("kill", "c1")
    assert result is not None, "CRIU never had to wait"
    assert result.returncode == 1, result.stderr
    if program == "stasis-checkpointer":
        assert "the checkpointer died (signal 9)" in result.stderr
    assert engine.inspect("c1", "{{.State.Status}}") == "exited"
    settle(engine)
    assert engine.numbers("c1")[-1] == last, "it has run"
    engine.docker("start", "--checkpoint", "before", "c1")
    wait_until(lambda: engine.numbers("c1")[-1] > last, "it counts on")


@pytest.fixture
def images_awaited(engine):
    """images_awaited(): begins a restore, and holds up the checkpointer where CRIU waits for its images; then it gives what begin_restore
    gave, and what lets the checkpointer go on."""
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c",  # a file without a name goes through the images: they take a while
                  "exec 3<>/x; head -c 64m /dev/urandom >&3; rm /x; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts", 60)
    engine.docker("checkpoint", "create", "c1", "before")
    engine.out("wait", "c1")
    wait_until(lambda: not engine.program_pids("stasis-shim"), "the shim has ended")
    held = []

    def go_on():
        for pid in held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def start():
        thread, results = begin_restore(engine)
        wait_until(lambda: runc_restores(engine), "the checkpoint is open")
        held.extend(checkpointer_pids(engine))
        os.kill(held[0], signal.SIGSTOP)
        wait_until(lambda: results or (restore_log_has(engine, "") and asks(engine)), "CRIU waits")
        assert not results and not restore_log_has(engine, "Forking task"), "it had its images before it could be held up"
        return thread, results, go_on

    yield start
    go_on()


@pytest.mark.parametrize("program", ["criu", "stasis-checkpointer", "runc", "stasis-shim"])
def test_nothing_is_left_of_a_restore_without_its_images(engine, images_awaited, program):
    before = engine.numbers("c1")
    start, results, go_on = images_awaited()
    for pid in engine.program_pids(program) if program == "stasis-shim" else victims(engine, program):
        os.kill(pid, signal.SIGKILL)
    go_on()
    start.join()
    why = {"criu": "CRIU was killed", "stasis-checkpointer": "the checkpointer died (signal 9)", "runc": "killed by signal 9",
           "stasis-shim": "the container's shim died"}
    assert results[0].returncode == 1 and why[program] in results[0].stderr, results[0].stderr
    assert engine.inspect("c1", "{{.State.Status}}") == "exited"
    settle(engine)
    wait_until(lambda: not list(engine.root.glob("containers/*/restore-images")), "its images are removed")
    assert engine.numbers("c1") == before, "it has run"
    engine.docker("start", "--checkpoint", "before", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > len(before), "it counts on")


@pytest.mark.parametrize("command, after", [("stop -t 0", "exited"), ("kill", "exited"), ("restart -t 0", "running"), ("rm -f", "")])
def test_who_ends_a_container_that_is_being_restored(engine, images_awaited, command, after):
    """Stop, kill and restart wait for the start, as Docker's do; a removal by force ends it."""
    start, results, go_on = images_awaited()
    restored = []
    ending = threading.Thread(target=lambda: restored.append(engine.docker(*command.split(), "c1", check=False)))
    ending.start()
    ending.join(timeout=1)
    assert bool(restored) == (after == ""), restored
    go_on()
    start.join()
    ending.join()
    assert restored[0].returncode == 0, restored[0].stderr
    if after:
        assert results[0].returncode == 0, results[0].stderr
        wait_until(lambda: engine.inspect("c1", "{{.State.Status}}") == after, f"it is {after}")
    else:
        assert "it is being removed" in results[0].stderr, results[0].stderr
        assert engine.out("ps", "-aq") == ""
    if command.startswith("restart"):
        wait_until(lambda: engine.numbers("c1").count(1) == 2, "it has begun anew")


def test_a_container_that_is_removed_while_its_shim_starts_leaves_no_shim(engine):
    """Its creation is called off too late for the supervisor to stop it (it looks ten times a second)."""
    engine.counter("c1")
    engine.docker("checkpoint", "create", "c1", "before")
    engine.out("wait", "c1")
    wait_until(lambda: not engine.program_pids("stasis-shim"), "the shim has ended")
    start, _ = begin_restore(engine)
    while not (shims := engine.program_pids("stasis-shim")):
        assert start.is_alive()
    [shim] = shims
    os.kill(shim, signal.SIGSTOP)
    removal = threading.Thread(target=lambda: engine.api("DELETE", "/containers/c1?force=1"))
    removal.start()
    while start.is_alive():  # no longer than it takes to call it off
        pass
    with contextlib.suppress(ProcessLookupError):
        os.kill(shim, signal.SIGCONT)
    removal.join()
    assert engine.out("ps", "-aq") == ""
    wait_until(lambda: not engine.program_pids("stasis-shim"), "no shim is left")


def test_a_killed_shim_takes_its_container_with_it(engine, workload):
    [shim] = engine.program_pids("stasis-shim")
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: engine.inspect("c1", "{{.State.Status}}") == "exited", "it is reported")
    assert engine.inspect("c1", "{{.State.ExitCode}}") == "255"
    assert "shim died" in engine.inspect("c1", "{{.State.Error}}")
    engine.docker("start", "c1")
    assert engine.inspect("c1", "{{.State.Status}}") == "running"


@pytest.mark.parametrize("paused", [False, True], ids=["running", "frozen"])
def test_what_nobody_knows_of_any_more_is_ended(engine, paused):
    """Everything that knew of a container is gone but the engine's record; its processes are there."""
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp")
    container = engine.inspect("c1", "{{.Id}}")
    if paused:
        engine.docker("pause", "c1")
    inside = [int(pid) for path in freezer_files(container) for pid in (path.parent / "cgroup.procs").read_text().split()]
    assert inside
    [shim] = engine.program_pids("stasis-shim")
    engine.kill_daemons()
    os.kill(shim, signal.SIGKILL)
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{engine.state}/"):
            subprocess.run(["umount", "-l", line.split()[1]], check=True)
    shutil.rmtree(engine.state)
    engine.start()
    wait_until(lambda: not [pid for pid in inside if is_there(pid)], "its processes have ended", 5)
    assert engine.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 255"
    engine.docker("start", "--checkpoint", "cp", "c1")
    before = len(engine.numbers("c1"))
    wait_until(lambda: len(engine.numbers("c1")) > before + 2, "it counts on")
    engine.docker("rm", "-f", "c1")
    wait_until(lambda: freezer_files(container) == [], "its cgroup is gone", 10)


def test_a_runc_ends_with_the_shim_that_started_it(engine, workload):
    """Also one that does not come to its end by itself."""
    engine.docker("checkpoint", "create", "c1", "before")
    engine.out("wait", "c1")
    wait_until(lambda: not engine.program_pids("stasis-shim"), "the shim has ended")
    start, results = begin_restore(engine)
    [runc] = wait_until(lambda: runc_restores(engine), "runc is started")
    os.kill(runc, signal.SIGSTOP)
    helpers = criu_pids(engine)
    [shim] = engine.program_pids("stasis-shim")
    os.kill(shim, signal.SIGKILL)
    start.join()
    assert results[0].returncode == 1
    wait_until(lambda: not runc_restores(engine), "runc has ended")
    wait_until(lambda: not [pid for pid in helpers if is_there(pid)], "its CRIU has ended")
    wait_until(lambda: engine.inspect("c1", "{{.State.Status}}") == "exited", "it is reported")
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "before", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > before, "it counts on")


def test_a_container_whose_shim_was_just_killed_can_be_removed(engine):
    engine.counter("c1")
    [shim] = engine.program_pids("stasis-shim")
    os.kill(shim, signal.SIGKILL)
    engine.docker("rm", "-f", "c1")
    assert engine.out("ps", "-aq") == ""


def test_a_full_disk_leaves_nothing_and_the_container_runs_on(engine, workload, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=True)
    try:
        result = engine.docker("checkpoint", "create", "--checkpoint-dir", small, "c1", "cp", check=False)
        assert result.returncode == 1 and "Cannot checkpoint container c1" in result.stderr
        assert list(small.iterdir()) == []
        assert engine.inspect("c1", "{{.State.Status}}") == "running"
        before = len(engine.numbers("c1"))
        wait_until(lambda: len(engine.numbers("c1")) > before, "it counts on")
    finally:
        subprocess.run(["umount", small], check=True)


def test_rm_force_cancels_a_checkpoint(engine, workload):
    thread = threading.Thread(target=lambda: engine.docker("checkpoint", "create", "--leave-running", "c1", "cp",
                                                           check=False))
    thread.start()
    wait_until(lambda: criu_pids(engine) or not thread.is_alive(), "CRIU runs")
    engine.docker("rm", "-f", "c1")
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert engine.out("ps", "-aq") == ""


@pytest.mark.parametrize("program, stage", [("stasisd", "shim-started"), ("stasisd", "criu-started"),
                                            ("stasis-supervisor", "shim-started"), ("stasis-supervisor", "criu-started")])
def test_a_killed_restore_leaves_the_files_of_what_there_is(engine, program, stage):
    """Restored, it has the checkpoint's; not restored, those from before the start."""
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c",
                  "[ -e /today ] && echo today; head -c 64m /dev/urandom > /dev/shm/x; exec 3>>/log; i=0; "
                  "while :; do i=$((i+1)); echo $i >&3; echo $i; sleep 0.1; done")
    wait_until(lambda: engine.numbers("c1"), "it counts", 60)
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp")
    engine.docker("exec", "c1", "touch", "/today")
    engine.docker("stop", "-t", "0", "c1")
    wait_until(lambda: not engine.program_pids("stasis-shim"), "the shim has ended")
    killed, result = kill_at(engine, RESTORE_STAGES[stage], program, ["start", "--checkpoint", "cp", "c1"])
    settle(engine)
    if not killed:
        pytest.skip(f"{program} was not there at stage {stage} (exit {result.returncode})")
    wait_until(lambda: engine.inspect("c1", "{{.State.Status}}") in ("running", "exited"), "the state is clear")
    time.sleep(3)  # a supervisor that comes back finds what runs
    state = engine.inspect("c1", "{{.State.Status}}")
    print(f"{program} killed at {stage}: {state}, {result.returncode}")
    if state == "running":
        before = len(engine.numbers("c1"))
        wait_until(lambda: len(engine.numbers("c1")) > before + 3, "it counts on")
        assert engine.docker("exec", "c1", "ls", "/today", check=False).returncode == 1
        number = int(engine.out("exec", "c1", "tail", "-n", "1", "/log"))
        assert abs(engine.numbers("c1")[-1] - number) < 10
        # As the layer on disk has it, not a layer that is on none any more.
        engine.docker("exec", "c1", "touch", "/later")
        engine.docker("stop", "-t", "0", "c1")
        engine.docker("start", "c1")
        wait_until(lambda: engine.docker("exec", "c1", "ls", "/later", check=False).returncode == 0, "its files stay")
    else:
        engine.docker("start", "c1")
        wait_until(lambda: "today" in engine.out("logs", "c1"), "it has the files from before the start")
