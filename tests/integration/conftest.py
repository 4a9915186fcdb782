"""The engine as a user has it: stasisd and its programs, real runc and CRIU, the stock docker CLI.

Each test session gets a root and a state directory of its own. After every test the machine must be as it was: no
mount, network namespace, cgroup or process of ours left.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("STASIS_BIN", REPOSITORY / "build/release/bin"))
DOCKER = shutil.which("docker")


def pytest_addoption(parser):
    parser.addoption("--repeat", type=int, default=1, help="how often the tests of real programs go round")
    parser.addoption("--all-kill-points", action="store_true", help="kill at every point, not at five")


def wait_until(condition, what, seconds=20):
    """Polls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def processes_of(program):
    """Pids of running (not zombie) processes whose first argument is one of our programs."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.path.basename(argv[0].decode(errors="replace")) == program:
            found.append((int(entry.name), [a.decode(errors="replace") for a in argv]))
    return found


class Engine:
    """One running stasisd with a root of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.root = self.directory / "root"
        self.state = self.directory / "state"
        self.socket = self.directory / "stasis.sock"
        self.log = self.directory / "stasisd.log"
        self.daemon = None

    @property
    def host(self):
        return f"unix://{self.socket}"

    def start(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [BIN / "stasisd", "--host", self.host, "--root", self.root, "--state", self.state, "--log-level", "debug"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.ready(), "the engine answers", 30)

    def ready(self):
        assert self.daemon.poll() is None, f"stasisd ended:\n{self.log.read_text()[-3000:]}"
        return subprocess.run(["curl", "-sf", "--unix-socket", self.socket, "http://d/_ping"],
                              capture_output=True).returncode == 0

    def stop(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            self.daemon.wait(timeout=30)

    def program_pids(self, program):
        """Pids of one of our programs that belong to this engine."""
        return [pid for pid, argv in processes_of(program) if any(str(self.directory) in a for a in argv)]

    def kill_daemons(self):
        """SIGKILL to the engine and the supervisor, as a machine's OOM killer would."""
        for program in ("stasisd", "stasis-supervisor"):
            for pid in self.program_pids(program):
                os.kill(pid, signal.SIGKILL)
        self.daemon.wait(timeout=10)
        wait_until(lambda: not self.program_pids("stasis-supervisor"), "the supervisor is gone")

    def docker(self, *arguments, check=True, input=None, timeout=120):
        """Runs the stock docker CLI against this engine."""
        result = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, input=input,
                                timeout=timeout, env={**os.environ, "DOCKER_HOST": self.host, "DOCKER_CLI_HINTS": "false",
                                                      "DOCKER_CONFIG": str(self.directory / "docker-config")})
        if check and result.returncode != 0:
            raise AssertionError(f"docker {' '.join(map(str, arguments))}: exit {result.returncode}\n{result.stdout}\n"
                                 f"{result.stderr}")
        return result

    def out(self, *arguments, **options):
        return self.docker(*arguments, **options).stdout.strip()

    def inspect(self, container, template):
        return self.out("inspect", "--format", template, container)

    def counter(self, name, *options):
        """A container that prints 1, 2, 3, ... ten a second."""
        self.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c",
                    "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
        wait_until(lambda: self.numbers(name), "the counter counts")
        return name

    def numbers(self, name):
        return [int(line) for line in self.out("logs", name).split() if line.isdigit()]

    def remove_all(self):
        ids = self.out("ps", "-aq").split()
        if ids:
            self.docker("rm", "-f", *ids)

    def leftovers(self):
        """What the engine left on the machine that no container of it explains."""
        found = []
        mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
        found += [line for line in mounts if str(self.directory) in line]
        for program in ("stasis-shim", "stasis-checkpointer", "criu", "runc"):
            found += [f"{program} {argv}" for pid, argv in processes_of(program)
                      if any(str(self.directory) in a for a in argv)]
        for hierarchy in ("/sys/fs/cgroup", *map(str, pathlib.Path("/sys/fs/cgroup").iterdir())):
            group = pathlib.Path(hierarchy) / "stasis"
            if group.is_dir():
                found += [str(d) for d in group.iterdir() if d.is_dir()]
        return found


@pytest.fixture(scope="session")
def shared_engine():
    if not DOCKER:
        pytest.skip("no docker CLI on this machine")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    directory = tempfile.mkdtemp(prefix="stasis-test-", dir="/var/tmp")
    engine = Engine(directory)
    try:
        engine.start()
        busybox = engine.directory / "busybox.tar"
        subprocess.run([REPOSITORY / "scripts/make-image", "busybox", busybox], check=True)
        engine.docker("load", "-i", busybox)
        yield engine
    finally:
        if engine.daemon and engine.daemon.poll() is not None:
            engine.start()
        engine.remove_all()
        engine.stop()
        for pid in engine.program_pids("stasis-supervisor"):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not engine.program_pids("stasis-supervisor"), "the supervisor ends")
        left = engine.leftovers()
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            if str(engine.directory) in line:
                subprocess.run(["umount", "-l", line.split()[1]])
        if os.environ.get("STASIS_KEEP"):
            print("kept:", directory, file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
        assert not left, f"left on the machine: {left}"


@pytest.fixture
def engine(shared_engine, request):
    """The engine with no container, before and after; what stays on the machine fails the test."""
    yield shared_engine
    if shared_engine.daemon.poll() is not None:
        shared_engine.start()
    shared_engine.remove_all()
    wait_until(lambda: not shared_engine.leftovers(), f"nothing left: {shared_engine.leftovers()}", 10)


@pytest.fixture
def client(engine):
    docker = pytest.importorskip("docker", reason="no python3-docker")
    client = docker.DockerClient(base_url=engine.host, version="1.41", timeout=60)
    yield client
    client.close()
