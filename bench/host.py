"""What the benchmarks ask of the machine."""

import os
import pathlib
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = pathlib.Path("/usr/local/lib/stasis/bin")
MIB = 1 << 20
REDIS = "/usr/bin/redis-server"
PYTHON = "/usr/bin/python3"


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("timed out")
        time.sleep(0.01)


def matching(condition):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = [a.decode(errors="replace") for a in (entry / "cmdline").read_bytes().split(b"\0")]
                if argv[0] and condition(argv):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def make_durable(paths):
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def disk_usage(path):
    return int(subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, text=True, check=True).stdout.split()[0])


def pss_mib(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def timed(action):
    begin = time.monotonic()
    action()
    return (time.monotonic() - begin) * 1000


class PeakMemory:
    """The most memory that those who make a checkpoint had at once while this was open, in MiB, by looks in short steps:
    `anonymous` and, with what they have mapped of files, `whole`. What several share is counted once."""

    # As /proc/PID/comm has them. No program of the container is called so.
    MAKERS = ("stasis-checkpoi", "criu", "runc", "podman", "conmon", "containerd-shim")

    def __init__(self, directory):
        self.directory = str(directory)  # which the programs of the peers have in their arguments

    def __enter__(self):
        self.anonymous, self.whole, self.ended = 0, 0, threading.Event()
        self.roots = {os.getpid(), *matching(lambda argv: any(self.directory in a for a in argv))}
        self.before = {pid for pid in pids() if name_of(pid) != "stasis-checkpoi"}
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def is_ours(self, pid):
        while pid > 1 and pid not in self.roots:
            pid = parent_of(pid)
        return pid in self.roots

    def watch(self):
        while not self.ended.wait(0.002):
            anonymous = whole = 0
            for pid in pids():
                if pid in self.before or name_of(pid) not in self.MAKERS or not self.is_ours(pid):
                    continue
                rollup = read(f"/proc/{pid}/smaps_rollup")
                fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:] if ":" in line)
                whole += int(fields.get("Pss", "0").split()[0])
                anonymous += int(fields.get("Pss_Anon", "0").split()[0])
            self.anonymous, self.whole = max(self.anonymous, anonymous / 1024), max(self.whole, whole / 1024)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read(path):
    """Nothing where the process has ended."""
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def name_of(pid):
    return read(f"/proc/{pid}/comm").strip()


def parent_of(pid):
    stat = read(f"/proc/{pid}/stat")
    return int(stat.rsplit(")", 1)[1].split()[1]) if stat else 0


def make_image(directory):
    """busybox, redis and python where this machine has them, and our own programs, as a docker-archive."""
    for name in ("memory", "redis_load"):
        subprocess.run(["gcc", "-O2", "-static", "-o", directory / name, ROOT / f"bench/{name}.c"], check=True)
    tar = directory / "bench.tar"
    copies = {directory / "memory": "/memory", directory / "redis_load": "/redis_load", ROOT / "bench/heap.py": "/heap.py"}
    programs = [REDIS] if os.path.exists(REDIS) else []
    if os.path.exists(PYTHON):
        program = os.path.realpath(PYTHON)
        programs += [program, f"/usr/lib/{os.path.basename(program)}"]
        copies[program] = PYTHON
    subprocess.run([ROOT / "scripts/make-image", "from-host", "bench", tar,
                    *(part for at, to in copies.items() for part in ("--copy", f"{at}:{to}")), "--", *programs], check=True)
    return tar


class BusyLoops:
    """So many processes beside the measured ones that do nothing but compute, as hosts have them."""

    def __init__(self, count):
        self.loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]

    def stop(self):
        for loop in self.loops:
            loop.kill()
            loop.wait()


def install(program, package):
    if not os.path.exists(program):
        guard = pathlib.Path("/usr/sbin/policy-rc.d")  # Debian would start it as a service
        if not guard.exists():
            guard.write_text("#!/bin/sh\nexit 101\n")
            guard.chmod(0o755)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", package], check=True)
        guard.unlink(missing_ok=True)
