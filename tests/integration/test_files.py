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


def test_back_in_time_with_the_files_of_that_time(engine):
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
    assert (upper(engine, "c1").parent / "upper-before-restore/made/file").read_text() == "x\n"
    # And again, and from the restored one.
    engine.docker("checkpoint", "create", "c1", "cp2")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    counts_on(engine, "c1")
    engine.docker("stop", "-t", "0", "c1")
    engine.docker("start", "--checkpoint", "cp2", "c1")
    counts_on(engine, "c1")


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
