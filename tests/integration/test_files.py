"""The container's files belong to its checkpoint: a restore finds them as they were."""

import json

from harness import wait_until

# Holds its log open, counts in it and in memory, and says where they differ.
WRITER = ("exec 3>>/log; i=0; while :; do i=$((i+1)); echo $i >&3; "
          "[ $(wc -l < /log) = $i ] || echo BAD $i $(wc -l < /log); echo $i; sleep 0.05; done")


def writer(engine, name, *options):
    engine.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c",
                  "echo image > /kept; echo old > /changed; echo gone > /deleted; " + WRITER)
    wait_until(lambda: len(engine.numbers(name)) > 3, "it writes")


def lines(engine, name):
    return [line for line in engine.out("logs", name).splitlines()]


def counts_on(engine, name):
    before = len(lines(engine, name))
    wait_until(lambda: len(lines(engine, name)) > before + 3, "it counts on")
    assert not [line for line in lines(engine, name) if "BAD" in line]


def upper(engine, name):
    identity = engine.inspect(name, "{{.Id}}")
    return engine.root / "images/roots" / identity / "upper"


def kept(stasis):
    """The names under which files that restores replaced are kept, the oldest first."""
    rows = [json.loads(line) for line in stasis("checkpoint", "ls", "-a", "--format", "json").stdout.splitlines()]
    return sorted(row["Checkpoint"] for row in rows if row["FilesOnly"])


def test_back_in_time_with_the_files_of_that_time(engine, stasis):
    writer(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "sh", "-c",
                  "echo new > /changed; rm /deleted; mkdir /made; echo x > /made/file; rm -r /bin/tac; chmod 600 /kept")
    wait_until(lambda: len(engine.numbers("c1")) > 20, "it writes on")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    assert engine.out("exec", "c1", "cat", "/changed", "/deleted") == "old\ngone"
    assert engine.out("exec", "c1", "sh", "-c", "ls /made 2>/dev/null; ls /bin/tac; stat -c %a /kept") == "/bin/tac\n644"
    # Today's are not lost.
    wait_until(lambda: kept(stasis), "they are kept")
    assert "A /made/file" in stasis("checkpoint", "diff", "c1", "cp1", kept(stasis)[0]).stdout
    # And again, and from the restored one.
    engine.docker("checkpoint", "create", "c1", "cp2")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp2", "c1")
    counts_on(engine, "c1")


def test_the_files_that_restores_replaced_come_back_by_undo(engine, stasis):
    writer(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    file = upper(engine, "c1") / "work"
    for text in ("monday", "tuesday"):
        engine.docker("exec", "c1", "sh", "-c", f"echo {text} > /work")
        engine.docker("stop", "-t", "0", "c1")
        started = stasis("start", "--checkpoint", "cp1", "c1")
        assert started.stdout == "c1\n" and "stasis checkpoint undo c1" in started.stderr, started
        assert not file.exists()
        counts_on(engine, "c1")
    wait_until(lambda: len(kept(stasis)) == 2, "both are kept")
    assert engine.out("checkpoint", "ls", "c1").split() == ["CHECKPOINT", "NAME", "cp1"]
    monday, tuesday = kept(stasis)
    assert [row for row in stasis("checkpoint", "du").stdout.splitlines() if monday in row]
    refused = stasis("checkpoint", "undo", "c1", check=False)
    assert refused.returncode == 1 and "stop it" in refused.stderr, refused
    wrong = engine.docker("start", "--checkpoint", monday, "c1", check=False)
    assert wrong.returncode == 1, wrong
    engine.docker("stop", "-t", "0", "c1")
    wrong = engine.docker("start", "--checkpoint", monday, "c1", check=False)
    assert wrong.returncode == 1 and "stasis checkpoint undo" in wrong.stderr, wrong
    undone = stasis("checkpoint", "undo", "c1")
    assert undone.stdout == "c1\n" and tuesday in undone.stderr, undone
    assert file.read_text() == "tuesday\n"
    stasis("checkpoint", "undo", "c1")
    assert not file.exists()
    stasis("checkpoint", "undo", "c1", monday)
    assert file.read_text() == "monday\n"
    # What the program goes on with is that.
    engine.docker("start", "c1")
    assert engine.out("exec", "c1", "cat", "/work") == "monday"
    stasis("checkpoint", "verify")
    engine.docker("rm", "-f", "c1")
    assert kept(stasis) == []
    wait_until(lambda: not list((engine.root / "checkpoint-store").glob("packs/*.pack")), "the space is given back")


def test_an_engine_that_dies_after_a_restore_loses_nothing_that_it_replaced(engine, stasis):
    writer(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "sh", "-c", "echo new > /work")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    engine.kill_daemons()
    engine.start()
    wait_until(lambda: kept(stasis), "it is kept")
    wait_until(lambda: not list(upper(engine, "c1").parent.glob("upper-kept-*")), "its directory is removed")
    engine.docker("stop", "-t", "0", "c1")
    stasis("checkpoint", "undo", "c1")
    assert (upper(engine, "c1") / "work").read_text() == "new\n"


def test_what_is_deleted_from_the_image_stays_deleted(engine):
    writer(engine, "c1")
    engine.docker("exec", "c1", "sh", "-c", "rm -r /bin/tac /bin/tee; mkdir /bin/tee; echo x > /bin/tee/file")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "sh", "-c", "rm -r /bin/tee; touch /bin/tac")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    assert engine.out("exec", "c1", "sh", "-c", "ls /bin/tac 2>/dev/null; cat /bin/tee/file") == "x"


def test_files_that_are_as_they_were_are_left_alone(engine):
    engine.counter("c1")
    engine.docker("exec", "c1", "sh", "-c", "echo x > /file; sync; sleep 0.2")
    engine.docker("checkpoint", "create", "c1", "cp1")
    before = upper(engine, "c1").stat().st_ino
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    assert upper(engine, "c1").stat().st_ino == before
    assert not list(upper(engine, "c1").parent.glob("upper-kept-*"))
    engine.docker("exec", "c1", "touch", "/other")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    assert upper(engine, "c1").stat().st_ino != before


def test_another_container_goes_on_with_the_files(engine, tmp_path):
    writer(engine, "c1")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path / "cps", "c1", "cp1")
    command = engine.inspect("c1", "{{index .Args 1}}")
    engine.docker("create", "--name", "c2", "busybox", "sh", "-c", command)
    engine.docker("start", "--checkpoint-dir", tmp_path / "cps", "--checkpoint", "cp1", "c2")
    counts_on(engine, "c2")
    assert engine.out("exec", "c2", "cat", "/changed") == "old"


def test_a_label_keeps_todays_files(engine):
    engine.docker("run", "-d", "--name", "c1", "--label", "stasis.checkpoint.files=no", "busybox", "sh", "-c",
                  "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "touch", "/today")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    assert engine.out("exec", "c1", "ls", "/today") == "/today"


def test_a_failed_restore_leaves_todays_files(engine):
    writer(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("exec", "c1", "touch", "/today")
    engine.docker("stop", "-t", "0", "c1")
    manifest = next(engine.root.glob("containers/*/checkpoints/cp1/manifest.json"))
    identity = engine.inspect("c1", "{{.Id}}")
    # CRIU's work directory cannot be made.
    work = manifest.parents[2] / "restore"
    assert identity in str(work)
    work.write_text("in the way")
    refused = engine.docker("start", "--checkpoint", "cp1", "c1", check=False)
    assert refused.returncode == 1, refused
    assert (upper(engine, "c1") / "today").exists()
    work.unlink()
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    assert not (upper(engine, "c1") / "today").exists()


def test_the_difference_to_a_checkpoint_is_told(engine, stasis, tmp_path):
    engine.docker("run", "-d", "--name", "c1", "busybox", "sh", "-c",
                  "echo 1 > /kept; echo 1 > /changed; echo 1 > /deleted; mkdir /d; echo 1 > /d/f; "
                  "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
    wait_until(lambda: engine.numbers("c1"), "it counts")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    engine.docker("checkpoint", "create", "--leave-running", "--checkpoint-dir", tmp_path / "cps", "c1", "cp1")
    diff = lambda *words, **options: stasis("checkpoint", "diff", *words, **options)
    assert diff("c1", "cp1").stdout == ""
    engine.docker("exec", "c1", "sh", "-c",
                  "echo new > /changed; rm /deleted /usr/bin/tac; mkdir -p /made/in; echo x > /made/in/it; "
                  "rm -r /d; chown -h 5 /usr/bin/tee")
    changes = ("C /changed\nD /d\nD /deleted\nA /made\nA /made/in\nA /made/in/it\n"
               "C /usr\nC /usr/bin\nD /usr/bin/tac\nC /usr/bin/tee\n")
    assert diff("c1", "cp1").stdout == changes
    assert diff("--checkpoint-dir", tmp_path / "cps", "c1", "cp1").stdout == changes
    lines = [json.loads(line) for line in diff("--format", "json", "c1", "cp1").stdout.splitlines()]
    assert lines[:4] == [{"Path": path, "Kind": kind}
                         for path, kind in [("/changed", 0), ("/d", 2), ("/deleted", 2), ("/made", 1)]]
    engine.docker("checkpoint", "create", "c1", "cp2")
    assert diff("c1", "cp1", "cp2").stdout == changes
    assert diff("c1", "cp2", "cp2").stdout == ""
    # What a restore has put back is what it was, though every file is made anew.
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    assert diff("c1", "cp1").stdout == ""
    assert diff("c1", "cp2").stdout == ("C /changed\nA /d\nA /d/f\nA /deleted\nD /made\n"
                                        "C /usr\nC /usr/bin\nA /usr/bin/tac\nC /usr/bin/tee\n")
    missing = diff("c1", "cp1", "cp9", check=False)
    assert missing.returncode == 1 and "checkpoint cp9 does not exist for container c1" in missing.stderr
    assert "own layer" in diff("--help").stdout


def test_a_checkpoint_without_files_has_no_difference(engine, stasis):
    engine.docker("run", "-d", "--name", "c1", "--label", "stasis.checkpoint.files=no", "busybox", "sleep", "1000")
    engine.docker("checkpoint", "create", "c1", "cp1")
    refused = stasis("checkpoint", "diff", "c1", "cp1", check=False)
    assert refused.returncode == 1 and "stasis.checkpoint.files=no" in refused.stderr, refused
    assert "Files: not in it" in stasis("checkpoint", "inspect", "c1", "cp1").stdout
