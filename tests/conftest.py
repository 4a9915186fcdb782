"""Each test session gets an engine with a root and a state directory of its own. After every test the machine must be
as it was: no mount, network namespace, cgroup or process of ours left."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from harness import BIN, DOCKER, REPOSITORY, Engine, wait_until


def pytest_addoption(parser):
    parser.addoption("--repeat", type=int, default=1, help="how often the tests of real programs go round")
    parser.addoption("--transparent", type=int, default=20, help="how many checkpoints a program must not notice")
    parser.addoption("--criu-kills", type=int, default=5, help="how often CRIU is killed at random moments")
    parser.addoption("--all-kill-points", action="store_true", help="kill at every point, not at five")


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
        try:
            wait_until(lambda: not engine.leftovers(), "nothing is left", 10)
            left = []
        except AssertionError:
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


@pytest.fixture(scope="session")
def image(shared_engine):
    """image(NAME): loads an image made by tests/images/make from this machine's own programs, once."""
    loaded = set()

    def load(name):
        if name not in loaded:
            tar = shared_engine.directory / f"{name}.tar"
            made = subprocess.run([REPOSITORY / "tests/images/make", name, tar], capture_output=True, text=True)
            if made.returncode == 77:
                pytest.skip(made.stderr.strip().splitlines()[-1])
            assert made.returncode == 0, made.stderr
            shared_engine.docker("load", "-i", tar)
            tar.unlink()
            loaded.add(name)
        return name

    return load


@pytest.fixture
def stasis(engine):
    """stasis(ARGUMENTS...): runs the command against the engine; check=False to look at a failure."""

    def run(*arguments, check=True, **options):
        result = subprocess.run([BIN / "stasis", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                                env={**os.environ, "STASIS_HOST": engine.host},
                                **({"stdin": subprocess.DEVNULL} | options if "input" not in options else options))
        assert not check or result.returncode == 0, f"stasis {arguments}: {result.returncode}\n{result.stderr}"
        return result

    return run
