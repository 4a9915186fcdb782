"""Unix sockets and names of files: what is bound, removed or connected is there after a restore, or is refused by name."""

import os
import socket
import threading

import pytest

from harness import wait_until

PLACES = ("/srv", "/run", "/dev/shm", "/mnt/volume")

# Listens on sockets whose files got another name after bind, in each place, and answers each with its number.
SERVER = r"""
import os, selectors, socket, sys
selector = selectors.DefaultSelector()
count = 0
def bind(path, kind=socket.SOCK_STREAM):
    global count
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(path)
    if kind == socket.SOCK_STREAM: s.listen(8)
    count += 1
    selector.register(s, selectors.EVENT_READ, str(count))
for place in sys.argv[1:]:
    os.makedirs(place + '/directory'); os.makedirs(place + '/far/away')
    os.chdir(place)
    bind(place + '/plain')
    bind(place + '/renamed.tmp'); os.rename('renamed.tmp', 'renamed'); os.chmod('renamed', 0o640); os.chown('renamed', 5, 6)
    bind(place + '/linked.tmp'); os.link('linked.tmp', 'linked'); os.unlink('linked.tmp'); os.chmod('linked', 0o604)
    bind(place + '/far.tmp'); os.link('far.tmp', 'far/away/linked'); os.unlink('far.tmp')
    bind(place + '/directory/of'); os.rename('directory', 'renamed-directory')
    bind('relative.tmp'); os.rename('relative.tmp', 'relative')
    bind(place + '/lines.tmp'); os.rename('lines.tmp', 'two\nlines')
    os.makedirs('l' * 200); bind('long.tmp'); os.rename('long.tmp', 'l' * 200 + '/socket')
    bind(place + '/datagram.tmp', socket.SOCK_DGRAM); os.rename('datagram.tmp', 'datagram')
    # The name of one is the old name of another.
    bind(place + '/first'); os.rename('first', 'second'); bind(place + '/first')
    # Removed, and where its directory was there is another thing.
    os.makedirs('gone'); bind(place + '/gone/socket'); os.unlink('gone/socket'); os.rmdir('gone'); os.symlink('/nowhere', 'gone')
os.chdir('/')
print('ready', flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            _, address = key.fileobj.recvfrom(64)
            key.fileobj.sendto(key.data.encode(), address)
        else:
            connection, _ = key.fileobj.accept()
            connection.send(key.data.encode())
            connection.close()
"""

CLIENT = r"""
import os, socket, sys
for place in sys.argv[1:]:
    os.chdir(place)
    for path in ('plain', 'renamed', 'linked', 'far/away/linked', 'renamed-directory/of', 'relative', 'second', 'first', 'two\nlines', 'datagram',
                 'l' * 200 + '/socket'):
        if '/' in path: os.chdir(place + '/' + os.path.dirname(path))
        name = os.path.basename(path)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if path == 'datagram' else socket.SOCK_STREAM)
        s.settimeout(5)
        if path == 'datagram': s.bind('/tmp/client')
        s.connect(name)
        if path == 'datagram': s.send(b'?')
        answer = s.recv(64).decode()
        if path == 'datagram': os.unlink('/tmp/client')
        state = os.stat(name)
        print(place, path[:32], answer, oct(state.st_mode), state.st_uid, state.st_gid, state.st_nlink)
        os.chdir(place)
    print(sorted(name for _, _, names in os.walk(place) for name in names))
"""


def run_python(engine, image, name, program, *options, arguments=()):
    engine.docker("run", "-d", "--name", name, *options, image("python"), "python3", "-c", program, *arguments)
    wait_until(lambda: "ready" in engine.out("logs", name), "the program is ready")


@pytest.mark.parametrize("end", [False, True])
def test_sockets_are_found_by_the_names_that_they_have(engine, image, tmp_path, end):
    volume = tmp_path / "volume"
    volume.mkdir()
    run_python(engine, image, "c1", SERVER, "--tmpfs", "/run", "-v", f"{volume}:/mnt/volume", arguments=PLACES)
    ask = lambda: engine.out("exec", "c1", "python3", "-c", CLIENT, *PLACES)
    before = ask()
    engine.docker("checkpoint", "create", *([] if end else ["--leave-running"]), "c1", "cp1")
    if not end:
        assert ask() == before
        engine.docker("kill", "c1")
    engine.out("wait", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    assert ask() == before
    engine.docker("checkpoint", "create", "c1", "cp2")
    engine.docker("start", "--checkpoint", "cp2", "c1")
    assert ask() == before


def test_a_socket_with_two_names_is_refused(engine, image):
    run_python(engine, image, "c1", "import os, socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/tmp/one'); s.listen()\n"
               "os.link('/tmp/one', '/tmp/two'); print('ready', flush=True); time.sleep(1000)")
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1 and "process 1 (python3) has a unix socket" in result.stderr, result.stderr
    assert "/tmp/one" in result.stderr and "2 names" in result.stderr, result.stderr
    assert engine.inspect("c1", "{{.State.Running}}") == "true"


# Removed files that are held open, mapped, or are a working directory, whose directories became something else.
REMOVED = r"""
import ctypes, mmap, os, sys, time
held = []
for place in sys.argv[1:]:
    os.chdir(place)
    for kind in ('link', 'dangling', 'file', 'nothing', 'directory'):
        os.makedirs(f'{place}/{kind}/below')
        f = open(f'{place}/{kind}/below/file', 'w+b'); f.write(kind.encode() * 5000); f.flush()
        memory = mmap.mmap(f.fileno(), 4096)
        directory = os.open(f'{place}/{kind}/below', os.O_RDONLY)
        pid = os.fork()
        if pid == 0:
            os.chdir(f'{place}/{kind}/below'); time.sleep(1000)
        while os.readlink(f'/proc/{pid}/cwd') == place: time.sleep(0.01)
        os.unlink(f'{place}/{kind}/below/file'); os.rmdir(f'{place}/{kind}/below'); os.rmdir(f'{place}/{kind}')
        if kind == 'link': os.symlink('/tmp', f'{place}/{kind}')
        if kind == 'dangling': os.symlink('/nowhere/at/all', f'{place}/{kind}')
        if kind == 'file': open(f'{place}/{kind}', 'w').write('a file')
        if kind == 'directory':
            os.makedirs(f'{place}/{kind}/below'); open(f'{place}/{kind}/below/file', 'w').write('new')
        held.append((kind, f, memory, directory, pid))
os.chdir('/')
print('ready', flush=True)
def state():
    for kind, f, memory, directory, pid in held:
        f.seek(0)
        yield kind, f.read() == kind.encode() * 5000, memory[:4], os.fstat(f.fileno()).st_nlink, os.listdir(directory), \
            os.listdir(f'/proc/{pid}/cwd/')
    for place in sys.argv[1:]:
        yield sorted(os.path.join(d, n) for d, directories, names in os.walk(place) for n in directories + names)
while True:
    try: text = repr(list(state()))
    except Exception as e: text = repr(e)
    open('/tmp/state', 'w').write(text)
    os.rename('/tmp/state', '/root-state')
    time.sleep(0.1)
"""


@pytest.mark.parametrize("end", [False, True])
def test_removed_files_come_back_whatever_took_the_place_of_their_directory(engine, image, tmp_path, end):
    volume = tmp_path / "volume"
    volume.mkdir()
    run_python(engine, image, "c1", REMOVED, "--tmpfs", "/run", "-v", f"{volume}:/mnt/volume", arguments=("/srv", "/run", "/mnt/volume"))
    state = lambda: engine.out("exec", "c1", "sh", "-c", "cat /root-state")
    before = wait_until(state, "the state is written")
    engine.docker("checkpoint", "create", *([] if end else ["--leave-running"]), "c1", "cp1")
    if not end:
        engine.docker("kill", "c1")
    engine.out("wait", "c1")
    engine.docker("start", "--checkpoint", "cp1", "c1")
    engine.docker("exec", "c1", "sh", "-c", "rm /root-state")
    assert wait_until(lambda: engine.docker("exec", "c1", "cat", "/root-state", check=False).stdout, "it runs on") == before


class Server:
    """A datagram server of the host's, as syslogd is one."""

    def __init__(self, path):
        self.path = path
        self.received = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while (message := self.socket.recv(256)) != b"end":
            self.received.append(message.decode())

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", str(self.path))
        self.thread.join()
        self.socket.close()
        os.unlink(self.path)


# Says a number ten times a second, and connects again where the server is gone, as syslog(3) does.
LOGGER = r"""
import socket, time, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(sys.argv[1])
print('ready', flush=True)
number = connected = 0
while True:
    number += 1
    try: s.send(f'{connected} {number}'.encode())
    except OSError:
        s.close()
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try: s.connect(sys.argv[1]); connected += 1
        except OSError: pass
    time.sleep(0.05)
"""


@pytest.mark.parametrize("bind", ["a file", "a directory"])
def test_a_program_that_writes_to_the_syslog_outside_goes_on(engine, image, tmp_path, bind):
    (tmp_path / "journal").mkdir()
    server = Server(tmp_path / "journal/dev-log")
    try:
        if bind == "a file":
            options, path = ("-v", f"{server.path}:/dev/log"), "/dev/log"
        else:
            options, path = ("-v", f"{tmp_path}/journal:/somewhere/else"), "/somewhere/else/dev-log"
        run_python(engine, image, "c1", LOGGER, *options, arguments=(path,))
        wait_until(lambda: server.received, "it writes")
        engine.docker("checkpoint", "create", "--leave-running", "c1", "cp1")
        count = len(server.received)
        wait_until(lambda: len(server.received) > count, "it goes on")
        engine.docker("checkpoint", "create", "c1", "cp2")
        for name in ("cp1", "cp2"):
            engine.out("wait", "c1")
            server.received.clear()
            engine.docker("start", "--checkpoint", name, "c1")
            wait_until(lambda: len(server.received) > 2, f"{name} writes again")
            assert all(message.startswith("0 ") for message in server.received), "by the connection that it had"
            engine.docker("kill", "c1")
        # With nobody there it is as when the server ends.
        if bind == "a directory":
            server.stop()
            engine.out("wait", "c1")
            engine.docker("start", "--checkpoint", "cp1", "c1")
            server = Server(server.path)
            wait_until(lambda: server.received, "it has found the new one")
    finally:
        server.stop()


def test_a_connection_to_a_process_outside_is_named(engine, image, tmp_path):
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        run_python(engine, image, "c1", "import socket, time; s = socket.socket(socket.AF_UNIX); s.connect('/host/server')\n"
                   "print('ready', flush=True); time.sleep(1000)", "-v", f"{tmp_path}:/host")
        connection, _ = server.accept()
        with connection:
            result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1, result.stderr
    assert f"process 1 (python3) is connected by a unix socket ({path}) to process {os.getpid()} (" in result.stderr, result.stderr
    assert "outside the container" in result.stderr
    engine.docker("checkpoint", "create", "c1", "cp1")  # that end is closed


def test_a_connection_to_a_process_of_exec_is_named(engine, image):
    run_python(engine, image, "c1", "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/tmp/s'); s.listen()\n"
               "print('ready', flush=True); c, _ = s.accept(); print('accepted', flush=True); time.sleep(1000)")
    engine.docker("exec", "-d", "c1", "python3", "-c", "import socket, time; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/s')\n"
                  "time.sleep(1000)")
    wait_until(lambda: "accepted" in engine.out("logs", "c1"), "they are connected")
    result = engine.docker("checkpoint", "create", "c1", "cp1", check=False)
    assert result.returncode == 1, result.stderr
    assert "process 1 (python3) is connected by a unix socket (/tmp/s) to process " in result.stderr, result.stderr
    assert "that docker exec started" in result.stderr and engine.inspect("c1", "{{.State.Running}}") == "true"
