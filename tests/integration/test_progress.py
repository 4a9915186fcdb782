"""Long work tells how it gets on: on a terminal, and by events."""

import json
import os
import pty
import select
import subprocess
import time

import pytest

from harness import BIN, DOCKER, wait_until

# Memory that no other page equals, so that it takes its time.
FILLER = "import os, signal; b = bytearray(); [b.extend(os.urandom(1 << 20)) for _ in range(1600)]; print('ready'); signal.pause()"


def on_terminal(engine, *arguments):
    """What `stasis ARGUMENTS` writes to a terminal at its stderr, its stdout, and how long it took."""
    ours, its = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen([BIN / "stasis", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its,
                               env={**os.environ, "STASIS_HOST": engine.host})
    os.close(its)
    shown = b""
    while True:
        select.select([ours], [], [], 60)
        try:
            some = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not some:
            break
        shown += some
    os.close(ours)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0, (shown, output)
    return shown.decode(), output, time.monotonic() - began


def is_progress(shown, *phases):
    lines = shown.split("\r\x1b[K")
    assert lines[0] == "" and lines[-1] == "", f"it begins each line anew, and leaves none: {shown!r}"
    assert [line for line in lines if line.split(":")[0] in phases and "B/s" in line], shown


def test_long_work_tells_how_it_gets_on(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-u", "-c", FILLER)
    wait_until(lambda: "ready" in engine.out("logs", "c1"), "it has its memory", 60)
    events = subprocess.Popen([DOCKER, "-H", engine.host, "events", "--format", "json"], stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: engine.docker("events", "--until", "0s", check=False).returncode == 0, "events")
        shown, output, seconds = on_terminal(engine, "checkpoint", "create", "--leave-running", "c1", "cp1")
        assert output == "cp1\n"
        verified, output, verify_seconds = on_terminal(engine, "checkpoint", "verify")
        assert "1 checkpoint" in output
        engine.docker("pause", "c1")  # an end to wait for
        seen = []
        for line in events.stdout:
            seen.append(json.loads(line))
            if seen[-1]["Action"] == "pause":
                break
    finally:
        events.kill()
        events.wait()
    engine.docker("unpause", "c1")
    told = [event["Actor"]["Attributes"] for event in seen if event["Action"] == "checkpoint-progress"]
    assert len(told) <= seconds
    for attributes in told:
        assert attributes["name"] == "c1" and attributes["checkpoint"] == "cp1" and attributes["phase"] and int(attributes["bytes"]) >= 0
    assert [event["Action"] for event in seen if not event["Action"].endswith("-progress")] == ["checkpoint", "pause"]
    if seconds < 4 or verify_seconds < 2:
        pytest.skip(f"this machine is too fast for progress: {seconds:.1f} s, {verify_seconds:.1f} s")
    is_progress(shown, "memory", "publish")
    assert told and any(attributes.get("total", "0") != "0" for attributes in told), told
    is_progress(verified, "packs", "checkpoints")


def test_a_restore_tells_how_it_gets_on(engine, image):
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-u", "-c", FILLER)
    wait_until(lambda: "ready" in engine.out("logs", "c1"), "it has its memory", 60)
    engine.docker("checkpoint", "create", "c1", "cp1")
    events = subprocess.Popen([DOCKER, "-H", engine.host, "events", "--format", "json"], stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: engine.docker("events", "--until", "0s", check=False).returncode == 0, "events")
        shown, output, seconds = on_terminal(engine, "start", "--checkpoint", "cp1", "c1")
        assert output == "c1\n"
        seen = []
        for line in events.stdout:
            seen.append(json.loads(line))
            if seen[-1]["Action"] == "start":
                break
    finally:
        events.kill()
        events.wait()
    told = [event["Actor"]["Attributes"] for event in seen if event["Action"] == "restore-progress"]
    for attributes in told:
        assert attributes["name"] == "c1" and attributes["checkpoint"] == "cp1" and attributes["phase"] and int(attributes["bytes"]) >= 0
    if seconds < 3:
        pytest.skip(f"this machine is too fast for progress: {seconds:.1f} s")
    assert told, seen
    is_progress(shown, "unpack", "memory")


def test_where_there_is_no_terminal_nothing_is_shown(engine, stasis):
    engine.counter("c1")
    assert stasis("checkpoint", "create", "c1", "cp1").stderr == ""
    assert stasis("checkpoint", "verify").stderr == ""
    shown, output, _ = on_terminal(engine, "checkpoint", "du", "--format", "json")
    assert shown == "" and json.loads(output)["Name"] == "cp1", "nor of what is done at once"
    status, answer = engine.api("POST", "/checkpoints/verify?progress=1")
    assert status == 200 and answer["Checkpoints"] == 1
    assert engine.api("GET", "/checkpoints/usage?progress=1&dir=relative")[0] == 400
