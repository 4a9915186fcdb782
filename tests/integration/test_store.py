"""What checkpoints share, what damage does to them, and what their removal gives back."""

import json
import pathlib
import shutil
import stat

from harness import wait_until

MIB = 1 << 20


def holder(engine, name, mib=32):
    """Counts, with so much random memory in a tmpfs and in a variable."""
    engine.docker("run", "-d", "--name", name, "busybox", "sh", "-c",
                  f"head -c {mib}m /dev/urandom > /dev/shm/x; sum=$(md5sum < /dev/shm/x); i=0; "
                  "while :; do i=$((i+1)); [ \"$(md5sum < /dev/shm/x)\" = \"$sum\" ] || echo BAD; echo $i; sleep 0.2; done")
    wait_until(lambda: engine.numbers(name), "it counts", 60)


def store(engine):
    return engine.root / "checkpoint-store"


def packs(where):
    return sorted(where.glob("packs/*.pack"))


def size(where):
    return sum(pack.stat().st_size for pack in packs(where))


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_equal_memory_is_kept_once(engine, stasis):
    holder(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    first = size(store(engine))
    assert first >= 32 * MIB
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp2")
    assert size(store(engine)) - first < 4 * MIB
    lines = [json.loads(line) for line in stasis("checkpoint", "du", "--format", "json").stdout.splitlines()]
    assert [line["Name"] for line in lines] == ["cp1", "cp2"]
    assert all(line["StoredBytes"] >= 32 * MIB and line["OwnBytes"] < 4 * MIB for line in lines), lines
    engine.docker("rm", "-f", "c1")
    wait_until(lambda: not packs(store(engine)), "the space is given back")


def test_removal_gives_back_what_nobody_else_needs(engine, stasis):
    holder(engine, "c1")
    holder(engine, "c2")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.docker("checkpoint", "create", "c2", "cp2")
    both = size(store(engine))
    engine.docker("checkpoint", "rm", "c1", "cp1")
    wait_until(lambda: size(store(engine)) < both - 30 * MIB, "the space is given back")
    assert "Total reclaimed space: 0B" in stasis("checkpoint", "gc").stdout
    before = len(engine.numbers("c2"))
    engine.docker("start", "--checkpoint", "cp2", "c2")
    wait_until(lambda: len(engine.numbers("c2")) > before, "it counts on")
    assert "BAD" not in engine.out("logs", "c2")


def test_a_flipped_bit_is_found_named_and_refused(engine, stasis):
    holder(engine, "hurt")
    engine.docker("checkpoint", "create", "hurt", "cp")
    hurt = packs(store(engine))
    holder(engine, "whole")
    engine.docker("checkpoint", "create", "whole", "cp")
    assert "2 checkpoints" in stasis("checkpoint", "verify").stdout
    flip(hurt[0], hurt[0].stat().st_size // 2)
    verified = stasis("checkpoint", "verify", check=False)
    assert verified.returncode == 1
    assert f"packs/{hurt[0].name}: block" in verified.stdout
    assert "checkpoint cp of hurt cannot be restored: " in verified.stdout, verified.stdout
    assert verified.stdout.count("cannot be restored") == 1
    refused = engine.docker("start", "--checkpoint", "cp", "hurt", check=False)
    assert refused.returncode == 1 and "is damaged" in refused.stderr, refused.stderr
    assert engine.inspect("hurt", "{{.State.Status}}") == "exited"
    before = len(engine.numbers("whole"))
    engine.docker("start", "--checkpoint", "cp", "whole")
    wait_until(lambda: len(engine.numbers("whole")) > before, "the other one counts on")
    flip(hurt[0], hurt[0].stat().st_size // 2)
    engine.docker("start", "--checkpoint", "cp", "hurt")


def test_damage_that_was_found_is_not_shared_by_later_checkpoints(engine, stasis):
    holder(engine, "c1")
    engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
    hurt = packs(store(engine))[0]
    flip(hurt, hurt.stat().st_size // 2)
    verified = stasis("checkpoint", "verify", check=False)
    assert verified.returncode == 1 and "checkpoint cp1 of " in verified.stdout, verified
    engine.docker("checkpoint", "create", "c1", "cp2")
    verified = stasis("checkpoint", "verify", check=False)
    assert verified.returncode == 1 and f"packs/{hurt.name}: block" in verified.stdout, verified
    assert "checkpoint cp2 of" not in verified.stdout, verified.stdout
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp2", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > before, "it counts on")
    assert "BAD" not in engine.out("logs", "c1")
    # The damaged one goes with what it alone had.
    engine.docker("checkpoint", "rm", "c1", "cp1")
    wait_until(lambda: not hurt.exists(), "the damaged pack is given back")
    assert "1 checkpoint" in stasis("checkpoint", "verify").stdout
    assert [path.suffix for path in (store(engine) / "packs").iterdir() if path.suffix != ".pack"] == []


def test_a_flipped_bit_of_a_manifest_is_found(engine, stasis):
    engine.counter("c1")
    engine.docker("checkpoint", "create", "c1", "cp1")
    manifest = next(engine.root.glob("containers/*/checkpoints/cp1/manifest.json"))
    text = manifest.read_bytes()
    manifest.write_bytes(text.replace(b'"version":2', b'"version": 2', 1))
    verified = stasis("checkpoint", "verify", check=False)
    assert verified.returncode == 1 and "checkpoint cp1 of c1 cannot be restored: " in verified.stdout, verified
    listed = stasis("checkpoint", "ls", "-a", check=False)
    assert listed.returncode == 1 and "checkpoint cp1 of c1: " in listed.stderr, listed
    refused = engine.docker("start", "--checkpoint", "cp1", "c1", check=False)
    assert refused.returncode == 1 and "manifest.sha256" in refused.stderr, refused.stderr
    manifest.write_bytes(text)
    engine.docker("start", "--checkpoint", "cp1", "c1")


def test_a_checkpoint_directory_is_complete_in_itself(engine, stasis, tmp_path):
    holder(engine, "c1")
    here, there = tmp_path / "here", tmp_path / "there"
    engine.docker("checkpoint", "create", "--checkpoint-dir", here, "c1", "cp1")
    for path in [here / "cp1", *here.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert not packs(store(engine))
    shutil.copytree(here, there)
    shutil.rmtree(here)
    stasis("checkpoint", "verify", "--checkpoint-dir", there)
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint-dir", there, "--checkpoint", "cp1", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > before, "it counts on")
    assert "BAD" not in engine.out("logs", "c1")
    # Without its store it is damaged, and says so.
    engine.docker("stop", "-t", "0", "c1")
    shutil.rmtree(there / ".store")
    refused = engine.docker("start", "--checkpoint-dir", there, "--checkpoint", "cp1", "c1", check=False)
    assert refused.returncode == 1 and ".store is not there" in refused.stderr, refused.stderr
    engine.docker("checkpoint", "rm", "--checkpoint-dir", there, "c1", "cp1")
    wait_until(lambda: list(there.iterdir()) == [], "nothing is left of it")


def test_what_is_whole_is_measured_beside_what_is_damaged(engine, stasis):
    engine.counter("hurt")
    engine.docker("checkpoint", "create", "hurt", "cp")
    engine.counter("whole")
    engine.docker("checkpoint", "create", "whole", "cp")
    manifest = next((engine.root / "containers" / engine.inspect("hurt", "{{.Id}}")).glob("checkpoints/cp/manifest.json"))
    text = manifest.read_bytes()
    manifest.write_bytes(text[:-10])
    inspected = stasis("checkpoint", "inspect", "--sizes", "whole", "cp")
    assert "Compressed: " in inspected.stdout and "Unique: " in inspected.stdout, inspected
    usage = stasis("checkpoint", "du", check=False)
    assert usage.returncode == 1 and "checkpoint cp of hurt is damaged: " in usage.stderr, usage
    rows = [line.split() for line in usage.stdout.splitlines()]
    assert sorted(row[0] for row in rows[1:]) == ["hurt", "whole"], usage.stdout
    hurt = stasis("checkpoint", "inspect", "--sizes", "hurt", "cp", check=False)
    assert hurt.returncode == 1, hurt
    manifest.write_bytes(text)
    assert stasis("checkpoint", "du").stderr == ""


def test_a_directory_says_what_is_in_it_without_a_container(engine, stasis, tmp_path):
    engine.counter("web", "--user", "1000")
    engine.docker("exec", "web", "touch", "/tmp/mine")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path, "web", "cp1")
    engine.counter("other")
    taken = engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path, "other", "cp1", check=False)
    assert taken.returncode == 1 and "of container web" in taken.stderr and str(tmp_path) in taken.stderr, taken
    engine.docker("rm", "-f", "web")
    for words in (["ls"], ["ls", "-a"]):
        header, line = stasis("checkpoint", *words, "--checkpoint-dir", tmp_path).stdout.splitlines()
        assert line.split()[:3] == ["web", "cp1", "busybox"], line
    report = stasis("checkpoint", "inspect", "--checkpoint-dir", tmp_path, "--files", "cp1").stdout
    for part in ("Container: web (", "Image: busybox (", "Options: --user=1000", "Command: sh -c", "[cwd]  /"):
        assert part in report, report
    assert "web" in stasis("checkpoint", "du", "--checkpoint-dir", tmp_path).stdout
    changes = stasis("checkpoint", "inspect", "--checkpoint-dir", tmp_path, "--all", "cp1").stdout
    assert "A /tmp/mine" in changes, "compared with the image that it says it is of"
    assert stasis("checkpoint", "ls", check=False).returncode == 1
    assert stasis("checkpoint", "ls", "--checkpoint-dir", tmp_path / "none", check=False).returncode == 1
    # What is in the way of a restore is named with both images.
    engine.docker("tag", "busybox", "mine")
    engine.docker("create", "--name", "c2", "busybox", "true")
    refused = engine.docker("start", "--checkpoint-dir", tmp_path, "--checkpoint", "cp1", "c2", check=False)
    assert refused.returncode == 1 and "--user" in refused.stderr, refused
    engine.docker("rmi", "mine")


def test_what_a_power_cut_left_in_a_checkpoint_directory_goes_with_the_next_checkpoint(engine, tmp_path):
    engine.counter("c1")
    for name in (".old.partial-0123456789abcdef", ".mine.partial-notes"):
        (tmp_path / name / "criu").mkdir(parents=True)
        (tmp_path / name / "criu/pages-1.img").write_text("x")
    engine.docker("checkpoint", "create", "--checkpoint-dir", tmp_path, "--leave-running", "c1", "cp1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.partial-notes", ".store", "cp1"]


def test_the_store_of_a_removed_directory_is_nobodys(engine, stasis, tmp_path):
    answer = stasis("checkpoint", "du", "--checkpoint-dir", tmp_path / "none", check=False)
    assert answer.returncode == 1 and "does not exist" in answer.stderr
    assert not pathlib.Path(tmp_path / "none").exists()
