"""Real programs of Debian: each checkpointed and restored again and again, its state checked each time."""

import re
import time

import pytest

from harness import wait_until


@pytest.fixture
def rounds(request):
    return request.config.getoption("--repeat")


def checkpoint_and_restore(engine, container, name):
    engine.docker("checkpoint", "create", container, name)
    assert engine.inspect(container, "{{.State.Status}}") == "exited"
    engine.docker("start", "--checkpoint", name, container)
    engine.docker("checkpoint", "rm", container, name)


def test_redis_keeps_its_data_and_its_clients(engine, image, rounds):
    engine.docker("run", "-d", "--name", "c1", image("redis"), "redis-server", "--save", "", "--port", "6379")
    wait_until(lambda: "PONG" in engine.out("exec", "c1", "redis-cli", "ping", check=False), "redis answers")
    engine.out("exec", "c1", "redis-cli", "eval", "for i=1,10000 do redis.call('set','k'..i,string.rep('v',1000)..i) end", "0")
    # A client whose connection is established at the checkpoint, and goes on afterwards.
    engine.docker("exec", "-d", "c1", "sh", "-c", "true")
    for n in range(rounds):
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        assert engine.out("exec", "c1", "redis-cli", "dbsize") == ("10000" if n == 0 else "10001")  # with `rounds`
        assert engine.out("exec", "c1", "redis-cli", "get", "k777") == "v" * 1000 + "777"
        assert engine.out("exec", "c1", "redis-cli", "incr", "rounds") == str(n + 1)


def test_python_threads_go_on(engine, image, rounds):
    program = """
import threading, time
counts = [0] * 8
def work(n):
    while True:
        counts[n] += 1
        time.sleep(0.01)
for n in range(8):
    threading.Thread(target=work, args=(n,), daemon=True).start()
i = 0
while True:
    before = list(counts)
    for _ in range(600):  # a busy machine may keep one of them waiting
        time.sleep(0.1)
        if all(b > a for a, b in zip(before, counts)):
            break
    else:
        raise AssertionError((before, counts))
    i += 1
    print(i, flush=True)
"""
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", program)
    wait_until(lambda: engine.numbers("c1"), "python counts")
    for n in range(rounds):
        before = len(engine.numbers("c1"))
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        wait_until(lambda: len(engine.numbers("c1")) > before + 1, "python counts on")
    numbers = engine.numbers("c1")
    assert numbers == list(range(1, len(numbers) + 1))
    assert engine.docker("logs", "c1").stderr == ""


def test_node_serves_on(engine, image, rounds):
    program = ("let n = 0; require('http').createServer((q, r) => r.end(String(++n))).listen(8080, "
               "() => console.log('listening'))")
    engine.docker("run", "-d", "--name", "c1", image("node"), "node", "-e", program)
    wait_until(lambda: "listening" in engine.out("logs", "c1"), "node listens")
    get = "require('http').get('http://127.0.0.1:8080', r => r.on('data', d => console.log(String(d))))"
    assert engine.out("exec", "c1", "node", "-e", get) == "1"
    for n in range(rounds):
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        assert engine.out("exec", "c1", "node", "-e", get) == str(n + 2)


def test_nginx_with_workers_of_another_user(engine, image, rounds):
    engine.docker("run", "-d", "--name", "c1", image("nginx"))
    page = lambda: engine.docker("exec", "c1", "wget", "-qO-", "http://127.0.0.1:80/", check=False).stdout
    wait_until(lambda: "hello" in page(), "nginx answers")
    workers = engine.out("exec", "c1", "sh", "-c", "cat /proc/[0-9]*/status | grep -A8 'Name:.nginx' | grep Uid")
    assert len(set(re.findall(r"Uid:\s+(\d+)", workers))) == 2, workers
    for n in range(rounds):
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        assert "hello" in page()
    assert "hello" in page()


def test_tail_follows_on(engine, image, rounds):
    """tail -F holds an inotify watch on a file of the overlay."""
    engine.docker("run", "-d", "--name", "c1", image("tools"), "sh", "-c", "echo 1 > /tmp/log; exec tail -n +1 -F /tmp/log")
    wait_until(lambda: engine.numbers("c1"), "tail reads")
    for n in range(rounds):
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        engine.docker("exec", "c1", "sh", "-c", f"echo {n + 2} >> /tmp/log")
        wait_until(lambda: engine.numbers("c1")[-1] == n + 2, "tail reads on")
    assert engine.numbers("c1") == list(range(1, rounds + 2))


def test_inotifywait_waits_on(engine, image, rounds):
    engine.docker("run", "-d", "--name", "c1", image("tools"), "sh", "-c",
                  "mkdir /watched; exec inotifywait -m -e create --format %f /watched")
    wait_until(lambda: "established" in engine.docker("logs", "c1").stderr, "inotifywait watches")
    for n in range(rounds):
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        engine.docker("exec", "c1", "touch", f"/watched/{n + 1}")
        wait_until(lambda: n + 1 in engine.numbers("c1"), "inotifywait sees the file")


def test_an_established_connection_inside_goes_on(engine, image, rounds):
    program = """
import socket, time
server = socket.socket(); server.bind(("127.0.0.1", 5000)); server.listen()
client = socket.create_connection(("127.0.0.1", 5000)); peer, _ = server.accept()
n = 0
while True:
    client.sendall(n.to_bytes(8, "little"))
    assert int.from_bytes(peer.recv(8, socket.MSG_WAITALL), "little") == n
    n += 1
    print(n, flush=True)
    time.sleep(0.05)
"""
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", program)
    wait_until(lambda: engine.numbers("c1"), "bytes flow")
    for n in range(rounds):
        before = len(engine.numbers("c1"))
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        wait_until(lambda: len(engine.numbers("c1")) > before + 2, "bytes flow on")
    assert engine.docker("logs", "c1").stderr == ""


# Whether another process finds them taken. One is on a part of a file that is mapped as well, as sqlite does it: the
# kernel drops such a lock when the process closes any descriptor of that file.
LOCKS = """
import fcntl, mmap, os
f=open('/tmp/x','w'); fcntl.flock(f, fcntl.LOCK_EX)
g=open('/tmp/y','w'); fcntl.lockf(g, fcntl.LOCK_EX)
h=open('/tmp/z','w+'); h.truncate(4096); m=mmap.mmap(h.fileno(), 4096); fcntl.lockf(h, fcntl.LOCK_EX, 10, 5)
def taken(path, lock, *part):
  with open(path, 'r+') as file:
    try: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *part)
    except OSError: return True
  return False
def check():
  child = os.fork()
  if child == 0:
    os._exit((taken('/tmp/x', fcntl.flock), taken('/tmp/y', fcntl.lockf), taken('/tmp/z', fcntl.lockf, 1, 14),
              taken('/tmp/z', fcntl.lockf, 5, 0), taken('/tmp/z', fcntl.lockf, 5, 15)) != (True, True, True, False, False))
  return os.waitpid(child, 0)[1] == 0
"""


# What an upgrade of a package does under the processes that use it.
REPLACED = """
import mmap, os, shutil
f=open(os.__file__, 'rb'); was=f.read(); os.unlink(os.__file__)
path=shutil.__file__; g=open(path, 'rb'); m=mmap.mmap(g.fileno(), 0, prot=mmap.PROT_READ); mapped=m[:]; g.close()
open(path + '.new', 'w').write('other'); os.rename(path + '.new', path)
def check(): return os.pread(f.fileno(), len(was), 0) == was and m[:] == mapped and open(path).read() == 'other'
"""
SEGMENT = """
import ctypes
c=ctypes.CDLL(None); c.shmat.restype=ctypes.c_void_p
s=c.shmget(0, 4096, 0o1600); a=c.shmat(s, None, 0); ctypes.memset(a, 7, 4096); c.shmctl(s, 0, None)
def check():
  mode=[line.split()[2] for line in open('/proc/sysvipc/shm') if line.split()[1] == str(s)]
  return mode == ['1600'] and ctypes.string_at(a, 4096) == b'\\7' * 4096
"""


STATES = [
    ("a large deleted file", "f=open('/tmp/x','w+b'); import os; os.unlink('/tmp/x'); f.write(b'7'*8000000); f.flush()\n"
                             "check=lambda: f.seek(0) == 0 and f.read() == b'7'*8000000"),
    ("flock and fcntl locks", LOCKS),
    ("files of the image that were removed and replaced", REPLACED),
    ("a removed segment of shared memory", SEGMENT),
    ("the address of a raw socket", "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)\n"
                                    "s.bind(('127.0.0.1', 0)); check=lambda: s.getsockname()[0] == '127.0.0.1'"),
    ("a memfd", "import os; m=os.memfd_create('m'); os.write(m, b'in memory')\n"
                "check=lambda: os.pread(m, 9, 0) == b'in memory'"),
    ("epoll, eventfd, timerfd", "import select, os; e=select.epoll(); r,w=os.pipe(); e.register(r, select.EPOLLIN)\n"
                                "check=lambda: (os.write(w, b'x'), e.poll(5), os.read(r, 1))[1] != []"),
    ("a unix socket pair", "import socket; a,b=socket.socketpair(); a.sendall(b'queued')\n"
                           "check=lambda: b.recv(6, socket.MSG_PEEK) == b'queued'"),
    ("a fifo", "import os; os.mkfifo('/tmp/f'); f=os.open('/tmp/f', os.O_RDWR); os.write(f, b'in'); \n"
               "check=lambda: (os.read(f, 2) == b'in', os.write(f, b'in'))[0]"),
    ("shared memory of two processes", "import mmap, os; m=mmap.mmap(-1, 4096); m[0]=0\nif os.fork() == 0:\n"
                                       "  import time\n  while True: m[0]=(m[0]+1)%256; time.sleep(0.01)\n"
                                       "def check():\n  a=m[0]; time.sleep(0.2); return m[0] != a"),
]


@pytest.mark.parametrize("name,program", STATES, ids=[name for name, _ in STATES])
def test_state_of_the_kernel_comes_back(engine, image, name, program):
    body = f"import time\n{program}\ni=0\nwhile True:\n  assert check()\n  i+=1; print(i, flush=True); time.sleep(0.1)\n"
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", body)
    wait_until(lambda: engine.numbers("c1"), "it runs")
    for n in range(2):
        before = len(engine.numbers("c1"))
        checkpoint_and_restore(engine, "c1", f"cp{n}")
        wait_until(lambda: len(engine.numbers("c1")) > before + 1, f"{name} goes on")
    numbers = engine.numbers("c1")
    assert numbers == list(range(1, len(numbers) + 1))


def test_time_inside_goes_on(engine, image):
    program = ("import time\nlast=time.monotonic()\nwhile True:\n  time.sleep(0.05); now=time.monotonic()\n"
               "  assert 0 < now-last < 1.5, now-last\n  last=now; print(int(now*1000), flush=True)\n")
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", program)
    wait_until(lambda: engine.numbers("c1"), "it runs")
    engine.docker("checkpoint", "create", "c1", "cp")
    time.sleep(3)  # time that the program must not see
    before = len(engine.numbers("c1"))
    engine.docker("start", "--checkpoint", "cp", "c1")
    wait_until(lambda: len(engine.numbers("c1")) > before + 5, "it goes on")
    inside = engine.numbers("c1")[-1]
    seen_by_exec = int(float(engine.out("exec", "c1", "python3", "-c", "import time; print(time.monotonic()*1000)")))
    assert 0 <= seen_by_exec - inside < 3000, "an exec has the container's clock"
