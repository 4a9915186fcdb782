"""What was answered is there after a power cut, what cannot be read costs only itself, and a full disk holds up nothing
that ends or thaws a container. Each test has an engine of its own, on a file system of its own."""

import fcntl
import os
import pathlib
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile

import pytest

from harness import BIN, DOCKER, REPOSITORY, Engine, wait_until

EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2


class Disk:
    """A file system of its own for the engine's root."""

    def __init__(self, directory, megabytes):
        self.image, self.path = directory / "disk.img", directory / "root"
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self.image], check=True)
        self.path.mkdir()
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    def unmount(self):
        """Waits until nobody has it any more: a mount of the same image would else be the same file system, shut down."""
        wait_until(lambda: subprocess.run(["umount", self.path], capture_output=True).returncode == 0, "the disk is free", 20)
        wait_until(lambda: not subprocess.run(["losetup", "-j", self.image], capture_output=True).stdout, "the loop is free", 20)

    def cut_power(self):
        """From now on nothing reaches the disk, and what was not made durable is lost (ext4's FS_IOC_SHUTDOWN)."""
        root = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(root, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        os.close(root)

    def fill(self):
        """To the last block; only what has blocks already can still be written to."""
        with open(self.path / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filler.write(b"\0" * size)
                        os.fsync(filler.fileno())
                except OSError:
                    pass

    def empty(self):
        (self.path / "filler").unlink()


@pytest.fixture
def own():
    """own(MEGABYTES): an engine on a disk of its own, with busybox. Nothing of it is left after the test."""
    if not DOCKER or os.geteuid() != 0:
        pytest.skip("needs the docker CLI and root")
    if not shutil.which("mkfs.ext4") or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs ext4 on a loop device")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="stasis-durable-", dir="/var/tmp"))
    engines = []

    def make(megabytes=128):
        engine = Engine(directory)
        engine.disk = Disk(directory, megabytes)
        engines.append(engine)
        engine.start()
        tar = directory / "busybox.tar"
        subprocess.run([REPOSITORY / "scripts/make-image", "busybox", tar], check=True)
        engine.docker("load", "-i", tar)
        return engine

    yield make
    for engine in engines:
        if engine.daemon.poll() is None:
            engine.remove_all()
        engine.stop()
        for pid in engine.program_pids("stasis-shim"):
            os.kill(pid, signal.SIGKILL)
        for pid in engine.program_pids("stasis-supervisor"):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not engine.program_pids("stasis-supervisor"), "the supervisor ends")
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if str(directory) in line:
                subprocess.run(["umount", "-l", line.split()[1]])
        wait_until(lambda: not engine.leftovers(), f"nothing is left: {engine.leftovers()}", 10)
    shutil.rmtree(directory, ignore_errors=True)


def end_everything(engine):
    """As a power cut ends it: no process is left, nor what the state directory says of them."""
    engine.kill_daemons()
    for pid in engine.program_pids("stasis-shim"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not engine.program_pids("stasis-shim"), "no shim is left")
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        if str(engine.directory) in line and str(engine.root) != line.split()[1]:
            subprocess.run(["umount", "-l", line.split()[1]])
    groups = {d.name for d in engine.root.glob("containers/*") if len(d.name) == 64}
    shutil.rmtree(engine.state, ignore_errors=True)
    for group in pathlib.Path("/sys/fs/cgroup").glob("**/stasis/*"):
        if group.name in groups and (group / "cgroup.procs").read_text().strip():
            for pid in (group / "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
    wait_until(lambda: not any((g / "cgroup.procs").exists() and (g / "cgroup.procs").read_text().strip()
                               for g in pathlib.Path("/sys/fs/cgroup").glob("**/stasis/*") if g.name in groups),
               "no process is left")


def names(engine):
    return sorted(engine.out("ps", "-a", "--format", "{{.Names}}").split())


def test_what_was_answered_survives_a_power_cut(own):
    engine = own()
    engine.counter("saved")
    engine.docker("checkpoint", "create", "saved", "cp1")
    engine.docker("create", "--name", "made", "busybox", "true")
    engine.docker("create", "--name", "old", "busybox", "true")
    engine.docker("rename", "old", "renamed")
    engine.docker("create", "--name", "removed", "busybox", "true")
    engine.docker("rm", "removed")
    reached = engine.numbers("saved")[-1]
    engine.docker("run", "--rm", "busybox", "true")
    engine.docker("create", "--name", "last", "busybox", "true")
    engine.disk.cut_power()
    end_everything(engine)
    engine.disk.unmount()
    engine.disk.mount()
    engine.start()
    assert names(engine) == ["last", "made", "renamed", "saved"]
    assert engine.out("checkpoint", "ls", "saved").split()[-1] == "cp1"
    engine.docker("start", "--checkpoint", "cp1", "saved")
    wait_until(lambda: engine.numbers("saved") and engine.numbers("saved")[-1] > reached, "it goes on")
    engine.docker("start", "-a", "last")


def test_the_files_that_a_restore_puts_back_survive_a_power_cut(own):
    """Also those that it replaced: what a restore has answered is on the disk, and what it kept as well."""
    engine = own()
    engine.docker("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
    engine.docker("exec", "c1", "sh", "-c", "for i in 1 2 3; do yes $i | head -c 300000 > /data$i; done; mkdir /d; echo a > /d/a")
    before = engine.out("exec", "c1", "sh", "-c", "sha256sum /data* /d/*")
    engine.docker("checkpoint", "create", "c1", "cp1")
    engine.docker("start", "c1")
    engine.docker("exec", "c1", "sh", "-c", "rm /data1; echo other > /data2; rm -r /d; sync")
    engine.docker("kill", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    engine.disk.cut_power()
    end_everything(engine)
    engine.disk.unmount()
    engine.disk.mount()
    engine.start()
    engine.docker("start", "c1")
    assert engine.out("exec", "c1", "sh", "-c", "sha256sum /data* /d/*") == before
    engine.docker("kill", "c1")
    undone = subprocess.run([BIN / "stasis", "checkpoint", "undo", "c1"], capture_output=True, text=True,
                            env={**os.environ, "STASIS_HOST": engine.host})
    assert undone.returncode == 0, undone
    engine.docker("start", "c1")
    assert engine.out("exec", "c1", "sh", "-c", "ls /data*; cat /data2") == "/data2\n/data3\nother"


@pytest.mark.parametrize("how", ["missing", "empty", "damaged"])
def test_a_lost_database_costs_no_container(own, how):
    engine = own()
    engine.counter("running")
    engine.counter("saved", "--label", "a=b")
    engine.docker("checkpoint", "create", "saved", "cp1")
    engine.docker("create", "--name", "gone", "busybox", "true")
    engine.docker("rm", "gone")
    engine.stop()
    database = engine.root / "stasis.db"
    if how == "damaged":
        content = bytearray(database.read_bytes())
        content[4096:] = os.urandom(len(content) - 4096)
        database.write_bytes(content)
        refused = subprocess.run([BIN / "stasisd", "--root", engine.root, "--state", engine.state, "--host", engine.host],
                                 capture_output=True, text=True, timeout=30)
        assert refused.returncode == 1 and str(database) in refused.stderr and "--recover" in refused.stderr, refused.stderr
        engine.flags = ["--recover"]
    else:
        database.unlink()
        if how == "empty":
            database.touch()
    engine.start()
    assert "adopted" in engine.log.read_text()
    assert names(engine) == ["running", "saved"]
    assert engine.inspect("running", "{{.State.Status}}") == "running"
    assert engine.inspect("saved", "{{.State.Status}} {{.Config.Labels.a}}") == "exited b"
    verified = subprocess.run([BIN / "stasis", "checkpoint", "verify"], capture_output=True, text=True,
                              env={**os.environ, "STASIS_HOST": engine.host})
    assert verified.returncode == 0 and "1 checkpoint" in verified.stdout, verified
    engine.docker("start", "--checkpoint", "cp1", "saved")
    wait_until(lambda: engine.inspect("saved", "{{.State.Status}}") == "running", "it is restored")
    engine.docker("rm", "-f", "saved", "running")
    engine.stop()
    engine.flags = []
    engine.start()
    assert names(engine) == []
    if how == "damaged":
        assert list(engine.root.glob("stasis.db.damaged-*"))


def test_a_record_that_cannot_be_read_costs_only_itself(own):
    engine = own()
    for name in ("whole", "torn", "small"):
        engine.docker("create", "--name", name, "busybox", "true")
    torn = engine.inspect("torn", "{{.Id}}")
    engine.stop()
    with sqlite3.connect(engine.root / "stasis.db") as database:
        # A record of a program that allowed less memory than this one does, and two that are no records.
        database.execute("UPDATE containers SET record = replace(record, '\"Memory\":0', '\"Memory\":4096') WHERE name = 'small'")
        database.execute("UPDATE containers SET record = '{torn' WHERE name IN ('torn', 'whole')")
    database.close()
    (engine.root / "containers" / torn / "record.json").write_text("torn")
    engine.start()
    assert names(engine) == ["small", "torn", "whole"]
    assert engine.inspect("small", "{{.HostConfig.Memory}}") == "4096"
    assert engine.inspect("torn", "{{.State.Status}}") == "dead"
    assert "cannot be read" in engine.inspect("torn", "{{.State.Error}}")
    assert engine.docker("start", "torn", check=False).returncode == 1
    engine.docker("start", "-a", "whole")  # its directory has its record
    engine.docker("rm", "torn")
    assert names(engine) == ["small", "whole"]


def test_a_damaged_image_keeps_its_layers(own):
    engine = own()
    engine.docker("create", "--name", "c1", "busybox", "true")
    image = engine.out("inspect", "--format", "{{.Image}}", "c1").partition(":")[2]
    engine.docker("rm", "c1")
    engine.stop()
    layers = sorted(os.listdir(engine.root / "images/layers"))
    (engine.root / "images/content/sha256" / image).write_text("torn")
    engine.start()
    assert sorted(os.listdir(engine.root / "images/layers")) == layers
    assert engine.out("images", "--format", "{{.Repository}}:{{.Tag}}") == "busybox:latest"
    assert "damaged" in engine.out("image", "inspect", "--format", "{{.Comment}}", "busybox")
    refused = engine.docker("create", "busybox", "true", check=False)
    assert refused.returncode != 0 and "damaged" in refused.stderr
    engine.docker("load", "-i", engine.directory / "busybox.tar")
    engine.docker("run", "--rm", "busybox", "true")
    engine.stop()
    (engine.root / "images/content/sha256" / image).unlink()
    engine.start()
    engine.docker("rmi", "busybox")
    assert engine.out("images", "-q") == ""


def test_on_a_full_disk_what_ends_or_thaws_a_container_works(own):
    engine = own(64)
    loop = ["busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]
    for name in ("paused", "thawed", "killed", "stopped", "removed"):
        engine.docker("run", "-d", "--name", name, *loop)
    engine.docker("run", "-d", "--name", "ends", "--rm", *loop)
    engine.docker("run", "-d", "--name", "again", "--restart", "always", *loop)
    engine.docker("pause", "thawed")
    engine.disk.fill()
    # Until the database has used up the blocks that its log has.
    for i in range(300):
        if engine.api("POST", f"/containers/stopped/rename?name=stopped{i}")[0] == 500:
            break
        engine.api("POST", f"/containers/stopped{i}/rename?name=stopped")
        engine.disk.fill()
    else:
        raise AssertionError("the disk does not fill up")
    engine.docker("pause", "paused")
    engine.docker("unpause", "paused")
    engine.docker("pause", "paused")
    engine.docker("unpause", "thawed")
    engine.docker("kill", "killed")
    engine.docker("stop", "stopped")
    engine.docker("rm", "-f", "removed")
    for name in ("ends", "again"):
        os.kill(int(engine.inspect(name, "{{.State.Pid}}")), signal.SIGTERM)
    engine.disk.fill()
    wait_until(lambda: "ends" not in names(engine), "--rm is heeded")
    wait_until(lambda: engine.inspect("killed", "{{.State.ExitCode}}") == "137", "the exit is seen")
    engine.kill_daemons()
    engine.disk.fill()
    engine.start()
    wait_until(lambda: names(engine) == ["again", "killed", "paused", "stopped", "thawed"], "the removals are finished")
    assert engine.inspect("paused", "{{.State.Status}}") == "paused"
    assert engine.inspect("killed", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    assert engine.inspect("stopped", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
    engine.disk.empty()
    wait_until(lambda: engine.inspect("again", "{{.State.Status}}") == "running", "the policy is heeded", 60)
    engine.docker("unpause", "paused")
    engine.docker("start", "stopped")
    engine.stop()
    engine.start()
    assert engine.inspect("stopped", "{{.State.Status}}") == "running"
