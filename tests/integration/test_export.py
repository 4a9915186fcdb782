"""A checkpoint as one file: out of one engine's container, into another's, or into a directory."""

import os
import pty
import subprocess

from harness import BIN, wait_until


def command(engine, *words, check=True, **options):
    """The stasis command with bytes in and out."""
    result = subprocess.run([BIN / "stasis", *map(str, words)], timeout=120, env={**os.environ, "STASIS_HOST": engine.host},
                            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    assert not check or result.returncode == 0, f"stasis {words}: {result.returncode}\n{result.stderr}"
    return result


def export(engine, file, *words):
    with open(file, "wb") as out:
        command(engine, "checkpoint", "export", *words, stdout=out)
    return file


def take_in(engine, file, *words, check=True):
    with open(file, "rb") as archive:
        return command(engine, "checkpoint", "import", *words, stdin=archive, check=check)


def counts_on(engine, name, after):
    wait_until(lambda: engine.numbers(name) and engine.numbers(name)[-1] > after + 2, "it counts on")
    numbers = engine.numbers(name)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] > after, numbers[:5]


def test_a_checkpoint_is_carried_to_another_container_as_one_file(engine, stasis, tmp_path):
    engine.counter("c1", "--user", "7")
    engine.docker("exec", "--user", "0", "c1", "sh", "-c", "echo carried > /file; rm /bin/tac; ln /file /link")
    engine.docker("checkpoint", "create", "c1", "cp1")
    last = engine.numbers("c1")[-1]
    file = export(engine, tmp_path / "cp1.tar.zst", "c1", "cp1")
    assert file.stat().st_size > 10_000
    engine.docker("rm", "-f", "c1")
    # Looked at without an engine.
    shown = subprocess.run([BIN / "stasis", "checkpoint", "show", file], capture_output=True, text=True,
                           env={**os.environ, "STASIS_HOST": "unix:///nonexistent"})
    for part in ("Container: c1 (", "Image: busybox (", "--user=7", "Command: sh -c", "Process tree"):
        assert part in shown.stdout, shown
    engine.docker("create", "--name", "c2", "--user", "7", "busybox", "true")
    assert take_in(engine, file, "c2").stdout == b"cp1\n"
    assert engine.out("checkpoint", "ls", "c2").split()[-1] == "cp1"
    again = take_in(engine, file, "c2", check=False)
    assert again.returncode == 1 and b"already exists" in again.stderr, again
    assert take_in(engine, file, "c2", "other").stdout == b"other\n"
    stasis("checkpoint", "verify")
    engine.docker("start", "--checkpoint", "other", "c2")
    counts_on(engine, "c2", last)
    assert engine.out("exec", "c2", "cat", "/file", "/link") == "carried\ncarried"
    assert engine.docker("exec", "c2", "ls", "/bin/tac", check=False).returncode == 1
    # And out of it again, as it is.
    assert export(engine, tmp_path / "again", "c2", "cp1").stat().st_size > 10_000


def test_a_directory_needs_no_container(engine, stasis, tmp_path):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path / "from", "c1", "cp1")
    last = engine.numbers("c1")[-1]
    file = export(engine, tmp_path / "archive", "--checkpoint-dir", tmp_path / "from", "cp1")
    assert take_in(engine, file, "--checkpoint-dir", tmp_path / "to").stdout == b"cp1\n"
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [".store", "cp1"]
    for path in (tmp_path / "to", tmp_path / "to/cp1"):
        shown = stasis("-H", "unix:///nonexistent", "checkpoint", "show", path).stdout
        assert "Container: c1 (" in shown, shown
    listed = stasis("checkpoint", "ls", "--checkpoint-dir", tmp_path / "to").stdout.splitlines()
    assert listed[-1].split()[:3] == ["c1", "cp1", "busybox"], listed
    engine.docker("start", "--checkpoint-dir", tmp_path / "to", "--checkpoint", "cp1", "c1")
    wait_until(lambda: engine.numbers("c1")[-1] > last + 2, "it counts on")


def test_what_is_cut_off_or_no_archive_is_refused_and_leaves_nothing(engine, stasis, tmp_path):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path / "from", "c1", "cp1")
    whole = export(engine, tmp_path / "whole", "--checkpoint-dir", tmp_path / "from", "cp1").read_bytes()
    half = tmp_path / "half"
    for content in (whole[:len(whole) // 2], whole[:-100], b"", b"hello", whole[:1000] + b"\0" * 1000 + whole[2000:]):
        half.write_bytes(content)
        for words in (["c1"], ["--checkpoint-dir", tmp_path / "to"]):
            refused = take_in(engine, half, *words, check=False)
            assert refused.returncode == 1 and b"import a checkpoint: " in refused.stderr, refused
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME"]
    assert not (tmp_path / "to").exists() or not list((tmp_path / "to").glob("[!.]*"))
    assert stasis("checkpoint", "show", half, check=False).returncode == 1
    missing = command(engine, "checkpoint", "export", "c1", "cp9", check=False)
    assert missing.returncode == 1 and b"checkpoint cp9 does not exist for container c1" in missing.stderr, missing
    assert missing.stdout == b""


def test_an_archive_is_not_written_to_a_terminal_nor_read_from_one(engine, tmp_path):
    engine.docker("create", "--name", "c1", "busybox", "true")
    terminal, ours = pty.openpty()
    try:
        written = command(engine, "checkpoint", "export", "c1", "cp1", stdout=ours, check=False)
        assert written.returncode == 1 and b"terminal" in written.stderr, written
        read = command(engine, "checkpoint", "import", "c1", stdin=ours, check=False)
        assert read.returncode == 1 and b"terminal" in read.stderr, read
    finally:
        os.close(terminal)
        os.close(ours)
