"""CRIU killed at random moments of checkpoints that leave a program running.

CRIU's own infection has moments in which the death of its tracer ends a process (docs/adr/0002). How many kills meet one
is measured here and printed, with what the program saw (tests/programs/transparent.c); what must hold all the same is that
an ended container is reported as exited, with its last checkpoint intact.
"""

import collections
import contextlib
import os
import random
import signal
import threading
import time

import pytest

from harness import build_program, wait_until
from test_kills import criu_pids, frozen, staged


@pytest.fixture
def program(tmp_path):
    return build_program("transparent", tmp_path)


def counts(engine):
    return len([line for line in engine.out("logs", "c1").splitlines() if line.startswith("counts main")])


def wrong(engine):
    return [line for line in engine.out("logs", "c1").splitlines() if line.startswith("WRONG")]


def test_criu_killed_at_random_moments(engine, program, request):
    kills = request.config.getoption("--criu-kills")
    chance = random.Random(7)
    seen = collections.Counter()
    engine.docker("run", "-d", "--name", "c1", "-v", f"{program}:/transparent:ro", "busybox", "/transparent")
    container = engine.inspect("c1", "{{.Id}}")
    wait_until(lambda: counts(engine) > 1, "it counts")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "before")
    told = 0
    while seen["kills"] < kills and seen["tries"] < 4 * kills:
        seen["tries"] += 1
        created = {}
        thread = threading.Thread(target=lambda: created.update(
            done=engine.docker("checkpoint", "create", "--leave-running", "c1", "cp", check=False)))
        thread.start()
        while not frozen(container) and thread.is_alive():
            time.sleep(0.0002)
        time.sleep(chance.uniform(0, 0.06))
        for pid in criu_pids(engine):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thread.join()
        wait_until(lambda: not criu_pids(engine) and not staged(engine, "."), "nothing of it goes on", 60)
        if created["done"].returncode == 0:
            seen["too late"] += 1
            engine.docker("checkpoint", "rm", "c1", "cp")
            continue
        seen["kills"] += 1
        if engine.inspect("c1", "{{.State.Status}}") == "running":
            before = counts(engine)
            try:
                wait_until(lambda: counts(engine) > before + 1, "it counts on", 10)
            except AssertionError:
                assert engine.inspect("c1", "{{.State.Status}}") == "exited", "it stands still"
        if engine.inspect("c1", "{{.State.Status}}") != "running":
            seen["container ended"] += 1
            assert engine.inspect("c1", "{{.State.Status}}") == "exited"
            engine.docker("start", "--checkpoint", "before", "c1")
            told = len(wrong(engine))
            continue
        new = wrong(engine)[told:]
        told += len(new)
        if new:
            seen["it saw something"] += 1
        for line in new:
            print("  ", line)
    print(dict(seen))
    assert seen["kills"] == kills
