"""A program that looks for every trace of a checkpoint (tests/programs/transparent.c) is left running by many, and
restored from one."""

import json
import re
import subprocess
import time

import pytest

from harness import REPOSITORY, build_program, wait_until


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return build_program("transparent", tmp_path_factory.mktemp("transparent"))


class Program:
    """It in a container, and what it has told."""

    def __init__(self, engine, path):
        self.engine = engine
        engine.docker("run", "-d", "--name", "c1", "-v", f"{path}:/transparent:ro", "busybox", "/transparent")
        wait_until(lambda: len(self.counts("main")) > 1, "it counts")

    def lines(self):
        return self.engine.out("logs", "c1").splitlines()

    def counts(self, who):
        """The last counts of one of its processes, as a dictionary; and how many lines of them there are, as ''."""
        lines = [line for line in self.lines() if line.startswith(f"counts {who} ")]
        last = dict(re.findall(r"(\S+)=(\d+)", lines[-1])) if lines else {}
        return {**{name: int(count) for name, count in last.items()}, "": len(lines)} if lines else {}

    def wrong(self):
        return [line for line in self.lines() if line.startswith("WRONG")]

    def goes_on(self):
        """Every wait comes to its end, twice."""
        before = self.counts("main")

        def standing():
            return [name for name, n in self.counts("main").items() if n < before[name] + 2]
        try:
            wait_until(lambda: not standing(), "all of it goes on", 60)
        except AssertionError:
            assert not standing(), self.wrong()


def manifest(engine, name):
    path, = engine.root.glob(f"containers/*/checkpoints/{name}/manifest.json")
    return json.loads(path.read_text())


def test_a_program_sees_nothing_of_checkpoints_that_leave_it_running(engine, program, request):
    checkpoints = request.config.getoption("--transparent")
    transparent = Program(engine, program)
    plain, frozen, refused = [], [], 0
    began = time.monotonic()
    while len(frozen) < checkpoints:
        result = engine.docker("checkpoint", "create", "--leave-running", "c1", "cp", check=False)
        if "nobody has accepted" in result.stderr:  # one that waits to be accepted: CRIU refuses
            refused += 1
            continue
        assert result.returncode == 0, f"checkpoint {len(frozen)}: {result.stderr}"
        made = manifest(engine, "cp")
        frozen.append(made["frozen_us"] / 1000)
        if made["freeze"] != "cow":
            plain.append(made["freeze_reason"])
        engine.docker("checkpoint", "rm", "c1", "cp")
    took = time.monotonic() - began
    transparent.goes_on()
    wrong = transparent.wrong()
    frozen.sort()
    print(f"{checkpoints} checkpoints in {took:.0f} s, {checkpoints - len(plain)} cow, {len(plain)} plain {sorted(set(plain))}, "
          f"{refused} refused for a connection in flight; "
          f"frozen {frozen[0]:.0f} / {frozen[len(frozen) // 2]:.0f} / {frozen[-1]:.0f} ms; {len(wrong)} wrong: {wrong[:20]}")
    assert wrong == []
    assert len(plain) <= checkpoints // 20, plain
    assert refused <= 2 + checkpoints // 100


def test_a_restored_program_sees_nothing_of_it(engine, program):
    transparent = Program(engine, program)
    for leave in ("--leave-running", None):
        options = [leave] if leave else []
        engine.docker("checkpoint", "create", *options, "c1", f"cp{leave}")
        if leave:
            engine.docker("kill", "c1")
        wait_until(lambda: engine.inspect("c1", "{{.State.Running}}") == "false", "it is stopped")
        engine.docker("start", "--checkpoint", f"cp{leave}", "c1")
        transparent.goes_on()
        assert transparent.wrong() == [], leave


def test_a_32_bit_program_is_checkpointed_plain(engine, tmp_path):
    made = subprocess.run(["gcc", "-m32", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-no-pie",
                           "-fno-stack-protector", "-o", tmp_path / "counter32", REPOSITORY / "tests/programs/counter32.c"])
    if made.returncode != 0:
        pytest.skip("this gcc makes no 32-bit programs")
    try:
        subprocess.Popen([tmp_path / "counter32"], stdout=subprocess.DEVNULL).kill()
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    engine.docker("run", "-d", "--name", "c1", "-v", f"{tmp_path}/counter32:/counter32:ro", "busybox", "/counter32")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp")
    made = manifest(engine, "cp")
    assert (made["freeze"], "32-bit" in made["freeze_reason"]) == ("plain", True), made["freeze_reason"]
    before = len(engine.numbers("c1"))
    wait_until(lambda: len(engine.numbers("c1")) > before + 2, "it counts on")
    engine.docker("kill", "c1")
    wait_until(lambda: engine.inspect("c1", "{{.State.Running}}") == "false", "it is stopped")
    engine.docker("start", "--checkpoint", "cp", "c1")
    before = len(engine.numbers("c1"))
    wait_until(lambda: len(engine.numbers("c1")) > before + 2, "it counts on")
