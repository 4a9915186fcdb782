"""The engine as a user has it: stasisd and its programs, real runc and CRIU, the stock docker CLI."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("STASIS_BIN", REPOSITORY / "build/release/bin"))
DOCKER = shutil.which("docker")


def wait_until(condition, what, seconds=20):
    """Polls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def build_program(name, directory):
    """tests/programs/NAME.c as a static program in `directory`, for a container of any image: its path."""
    program = pathlib.Path(directory) / name
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", program, REPOSITORY / f"tests/programs/{name}.c"], check=True)
    return program


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
        self.flags = []  # more of stasisd's
        self.cgroups_before = {d.name for d in pathlib.Path("/sys/fs/cgroup").glob("**/stasis/*") if d.is_dir()}

    @property
    def host(self):
        return f"unix://{self.socket}"

    def start(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [BIN / "stasisd", "--host", self.host, "--root", self.root, "--state", self.state, "--log-level", "debug", *self.flags],
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

    def api(self, method, path, body=None):
        """One call of the HTTP API: its status and its JSON."""
        command = ["curl", "-s", "--unix-socket", self.socket, "-X", method, "-w", "\n%{http_code}", f"http://d/v1.47{path}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        text, _, code = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
        return int(code), json.loads(text) if text.strip() else None

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
        # Other engines may run beside this one: a cgroup counts when no shim of another stands for it. Those of
        # unit tests that run beside are named test-*.
        of_others = {a for _, argv in processes_of("stasis-shim") for a in argv if str(self.directory) not in a}
        for hierarchy in ("/sys/fs/cgroup", *map(str, pathlib.Path("/sys/fs/cgroup").iterdir())):
            group = pathlib.Path(hierarchy) / "stasis"
            if group.is_dir():
                found += [str(d) for d in group.iterdir()
                          if d.is_dir() and d.name not in self.cgroups_before and not d.name.startswith("test-")
                          and not any(d.name in a for a in of_others)]
        return found
