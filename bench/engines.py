"""Stasis and its peers, each behind the same few verbs."""

import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess

from host import MIB, ROOT, TOOLS, disk_usage, make_durable, matching, wait_until

BIN = pathlib.Path(os.environ.get("STASIS_BIN", ROOT / "build/release/bin"))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(300)
        self.sock.connect(self.path)


class Api:
    """The one HTTP client for both engines."""

    def __init__(self, path):
        self.connection = UnixConnection(path)
        self.path = path

    def __call__(self, method, path, body=None, raw=None):
        headers = {}
        data = raw
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        elif raw is not None:
            headers["Content-Type"] = "application/x-tar"
        self.connection.request(method, "/v1.41" + path, data, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and answer.status != 304:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        try:
            return json.loads(text)
        except ValueError:
            return text


class Engine:
    name = "?"

    def load(self, tar):
        self.api("POST", "/images/load", raw=tar.read_bytes())

    def create(self, command, **options):
        body = {"Image": "bench", "Cmd": command, "HostConfig": {"NetworkMode": "none",
                "SecurityOpt": ["seccomp=unconfined"]}, **options}
        return self.api("POST", "/containers/create", body)["Id"]

    def life(self):
        """create, start, wait, remove of `true`."""
        container = self.create(["true"])
        self.api("POST", f"/containers/{container}/start")
        self.api("POST", f"/containers/{container}/wait")
        self.api("DELETE", f"/containers/{container}")

    def start_idle(self):
        container = self.create(["sleep", "100000"])
        self.api("POST", f"/containers/{container}/start")
        return container

    def exec_true(self, container):
        instance = self.api("POST", f"/containers/{container}/exec",
                            {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True})["Id"]
        self.api("POST", f"/exec/{instance}/start", {"Detach": False, "Tty": False})
        assert self.api("GET", f"/exec/{instance}/json")["ExitCode"] == 0
        self.api.connection.close()  # a hijacked connection is used up

    def remove(self, container):
        self.api("DELETE", f"/containers/{container}?force=1")

    def start_program(self, *command):
        container = self.create(command, OpenStdin=True)
        self.api("POST", f"/containers/{container}/start")
        wait_until(lambda: b"ready" in self.api("GET", f"/containers/{container}/logs?stdout=1"))
        return container

    def checkpoint(self, container, name, leave):
        self.api("POST", f"/containers/{container}/checkpoints", {"CheckpointID": name, "Exit": not leave})

    def restore(self, container, name):
        self.api("POST", f"/containers/{container}/start?checkpoint={name}")

    def forget(self, container, name):
        self.api("DELETE", f"/containers/{container}/checkpoints/{name}")

    def wait_gone(self, container):
        wait_until(lambda: not self.api("GET", f"/containers/{container}/json")["State"]["Running"])
        # As runc's removal: what is left of the last run is cleared away before the next is timed.
        wait_until(lambda: not matching(lambda argv: "shim" in argv[0] and any(container in a for a in argv)))

    def containers(self):
        return [container["Id"] for container in self.api("GET", "/containers/json?all=1")]

    def pid(self, container):
        return self.api("GET", f"/containers/{container}/json")["State"]["Pid"]


class Stasis(Engine):
    name = "stasis"

    def __init__(self, directory):
        self.directory = directory / "stasis"
        self.directory.mkdir()
        path = self.directory / "s.sock"
        self.daemon = subprocess.Popen([BIN / "stasisd", "--host", f"unix://{path}", "--root", self.directory / "root", "--state",
                                        self.directory / "state"], stderr=open(self.directory / "log", "w"))
        wait_until(path.exists)
        self.api = Api(path)

    def size(self, container, name):
        return self.api("GET", f"/containers/{container}/checkpoints/{name}/json")["stored_bytes"]

    def processes(self):
        return matching(lambda argv: argv[0].rsplit("/", 1)[-1].startswith("stasis") and
                        any(str(self.directory) in a for a in argv))

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGTERM)


class Docker(Engine):
    name = "docker"

    def __init__(self, directory):
        self.directory = directory / "docker"
        self.directory.mkdir()
        path = self.directory / "d.sock"
        environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
        self.daemon = subprocess.Popen(
            ["/usr/sbin/dockerd", "--experimental", "-H", f"unix://{path}", "--data-root", self.directory / "root", "--exec-root",
             self.directory / "exec", "--pidfile", self.directory / "pid", "--iptables=false", "--bridge=none"],
            env=environment, stdout=open(self.directory / "log", "w"), stderr=subprocess.STDOUT)
        wait_until(path.exists, 60)
        self.api = Api(path)
        wait_until(lambda: answers(self.api), 60)

    def size(self, container, name):
        return disk_usage(self.directory / "root/containers" / container / "checkpoints" / name)

    def processes(self):
        return matching(lambda argv: argv[0].rsplit("/", 1)[-1] in ("dockerd", "containerd", "containerd-shim-runc-v2")
                        and any(str(self.directory) in a for a in argv))

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()


# Podman asks for more than the hard limits of some machines.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


class Podman:
    """By its command, which is all that it has; each checkpoint an export with zstd."""

    name = "podman"

    def __init__(self, directory):
        self.directory = directory / "podman"
        self.directory.mkdir()
        self.count = 0

    def podman(self, *arguments):
        environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
        command = ["podman", "--root", self.directory / "root", "--runroot", self.directory / "run", "--runtime", TOOLS / "runc",
                   "--cgroup-manager", "cgroupfs", "--events-backend", "none", *arguments]
        result = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"podman {arguments[0]}: {result.stderr[-300:]}")
        return result.stdout.strip()

    def load(self, tar):
        self.podman("load", "-i", tar)

    def run(self, *command):
        self.count += 1
        name = f"bench{os.getpid()}-{self.count}"
        self.podman("run", "-d", "-i", "--name", name, "--network", "none", *LIMITS, "--security-opt",
                    "seccomp=unconfined", "bench", *command)
        return name

    def life(self):
        self.podman("run", "--rm", "--network", "none", *LIMITS, "bench", "true")

    def start_idle(self):
        return self.run("sleep", "100000")

    def exec_true(self, container):
        self.podman("exec", container, "true")

    def remove(self, container):
        self.podman("rm", "-f", "-t", "0", container)

    def start_program(self, *command):
        container = self.run(*command)
        wait_until(lambda: "ready" in self.podman("logs", container))
        return container

    def export(self, name):
        return self.directory / f"{name}.tar.zst"

    def checkpoint(self, container, name, leave):
        self.podman("container", "checkpoint", *(["--leave-running"] if leave else []), "--export", self.export(name), "--compress",
                    "zstd", container)
        make_durable([self.export(name)])

    def size(self, container, name):
        return self.export(name).stat().st_size

    def restore(self, container, name):
        self.podman("container", "restore", "--import", self.export(name))

    def wait_gone(self, container):
        self.remove(container)

    def forget(self, container, name):
        self.export(name).unlink()

    def pid(self, container):
        return int(self.podman("inspect", "--format", "{{.State.Pid}}", container))

    def containers(self):
        return self.podman("ps", "-aq").split()

    def stop(self):
        pass


class Runc:
    """Bare runc: what an engine cannot be faster than."""

    name = "runc"

    def __init__(self, directory, tar):
        self.directory = directory / "runc"
        rootfs = self.directory / "bundle/rootfs"
        rootfs.mkdir(parents=True)
        image = directory / "image"
        image.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", image], check=True)
        manifest = json.loads((image / "manifest.json").read_text())[0]
        for layer in manifest["Layers"]:
            subprocess.run(["tar", "-xf", image / layer, "-C", rootfs], check=True)
        self.count = 0
        self.hold = None  # the write end of a program's input

    def runc(self, *arguments, **options):
        environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
        return subprocess.run([TOOLS / "runc", "--root", self.directory / "state", *map(str, arguments)], check=True,
                              env=environment, **options)

    def bundle(self, args):
        bundle = self.directory / "bundle"
        subprocess.run([TOOLS / "runc", "spec"], cwd=bundle, capture_output=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"].update(terminal=False, args=args)
        spec["root"]["readonly"] = False
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def start(self, args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        self.count += 1
        name = f"bench{os.getpid()}-{self.count}"
        bundle = self.bundle(args)
        self.runc("create", "--bundle", bundle, "--pid-file", self.directory / "pid", name, stdin=stdin, stdout=stdout,
                  stderr=stdout)
        pid = int((self.directory / "pid").read_text())
        handle = os.pidfd_open(pid)
        self.runc("start", name)
        return name, handle

    def life(self):
        name, handle = self.start(["true"])
        select.select([handle], [], [])
        os.close(handle)
        self.runc("delete", name)

    def start_idle(self):
        name, handle = self.start(["sleep", "100000"])
        os.close(handle)
        return name

    def exec_true(self, name):
        self.runc("exec", name, "true")

    def remove(self, name):
        self.runc("delete", "--force", name)

    def start_program(self, *command):
        read, write = os.pipe()
        stdin, self.hold = os.pipe()  # the program ends with its input
        name, handle = self.start(list(command), stdin=stdin, stdout=write)
        for descriptor in (write, stdin, handle):
            os.close(descriptor)
        while b"ready" not in os.read(read, 100):
            pass
        os.close(read)
        return name

    def checkpoint(self, name, checkpoint, leave):
        images = self.directory / checkpoint
        self.runc("checkpoint", *(["--leave-running"] if leave else []), "--manage-cgroups-mode", "ignore", "--image-path", images,
                  "--work-path", images, name, stdout=subprocess.DEVNULL)
        make_durable([*images.iterdir(), images])

    def size(self, name, checkpoint):
        return disk_usage(self.directory / checkpoint)

    def forget(self, name, checkpoint):
        shutil.rmtree(self.directory / checkpoint)

    def pid(self, name):
        return int((self.directory / "pid").read_text())

    def restore(self, name, checkpoint):
        stdin, self.hold = os.pipe()
        self.runc("restore", "-d", "--manage-cgroups-mode", "ignore", "--image-path", self.directory / checkpoint, "--work-path",
                  self.directory / checkpoint, "--bundle", self.directory / "bundle", "--pid-file", self.directory / "pid", name,
                  stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(stdin)

    def wait_gone(self, name):
        state = lambda: subprocess.run([TOOLS / "runc", "--root", self.directory / "state", "state", name],
                                       capture_output=True).returncode
        if state() == 0:
            self.remove(name)
        wait_until(lambda: state() != 0)

    def stop(self):
        pass


def answers(api):
    try:
        return api("GET", "/_ping") == b"OK"
    except OSError:
        api.connection.close()
        return False
