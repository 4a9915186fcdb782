"""Memory and data under load: checkpoints are made again and again while programs write as fast as they can, and what is restored is that
of one instant. The programs keep the sums themselves."""

import pathlib

import pytest

from harness import build_program, wait_until

MIB = 1 << 20
LAST = 3  # so many of the checkpoints are restored


@pytest.fixture
def rounds(request):
    """Checkpoints of each program: a few, and for a minute or more with --repeat 20."""
    return 2 + request.config.getoption("--repeat") * 2


@pytest.fixture
def memory_program(tmp_path):
    return build_program("memory", tmp_path)


@pytest.fixture
def huge_pages():
    """Some huge pages in the machine's pool, for as long as the test runs."""
    pool, wanted = pathlib.Path("/proc/sys/vm/nr_hugepages"), 16
    before = pool.read_text()
    try:
        pool.write_text(str(int(before) + wanted))
    except OSError as error:
        pytest.skip(f"this machine's pool of huge pages is not ours to change: {error}")
    try:
        if int(pool.read_text()) < int(before) + wanted:
            pytest.skip(f"this machine has no room for {wanted} huge pages")
        yield
    finally:
        pool.write_text(before)


def goes_on(engine, name, more=2):
    before = len(engine.numbers(name))

    def further():
        assert engine.inspect(name, "{{.State.Status}}") == "running", engine.docker("logs", "--tail", "20", name)
        return len(engine.numbers(name)) >= before + more

    wait_until(further, f"{name} goes on", 120)


def create(engine, *arguments):
    """Tried again where the message says that this will do: under load even several attempts may find connections that nobody has accepted."""
    for _ in range(5):
        created = engine.docker("checkpoint", "create", *arguments, check=False)
        if created.returncode == 0:
            return
        assert "checkpoint again" in created.stderr, created.stderr
    raise AssertionError(created.stderr)


def checkpoint(engine, container, name):
    create(engine, "--leave-running", container, name)
    code, manifest = engine.api("GET", f"/containers/{container}/checkpoints/{name}/json")
    assert code == 200
    assert manifest["freeze"] == "cow", manifest["freeze_reason"]


def restore(engine, container, name):
    if engine.inspect(container, "{{.State.Status}}") == "running":
        engine.docker("kill", container)
        engine.docker("wait", container)
    engine.docker("start", "--checkpoint", name, container)


def go_round(engine, container, rounds, check):
    """Checkpoints it `rounds` times as it runs; restores the last ones; last by way of a checkpoint that ends it. `check` is called for
    the program as it runs on, and for each restored one."""
    for number in range(rounds):
        checkpoint(engine, container, f"cp{number}")
        goes_on(engine, container, 1)
    check()
    for number in range(max(0, rounds - LAST), rounds):
        restore(engine, container, f"cp{number}")
        goes_on(engine, container)
        check()
    checkpoint(engine, container, "of-a-restored-one")
    create(engine, container, "end")
    for name in ("end", "of-a-restored-one"):
        restore(engine, container, name)
        goes_on(engine, container)
        check()


def check_memory(engine, program, rounds, *arguments):
    engine.docker("run", "-d", "--name", "c1", "--ulimit", "memlock=-1:-1", "-v", f"{program}:/memory:ro", "busybox", "/memory",
                  *map(str, arguments))
    goes_on(engine, "c1")

    def check():
        log = engine.docker("logs", "c1")
        assert not [line for line in log.stdout.splitlines() if "WRONG" in line] and log.stderr == ""

    go_round(engine, "c1", rounds, check)


def test_memory_of_every_kind_is_that_of_one_instant(engine, memory_program, rounds):
    """40 threads and 4 processes; see the program for the kinds."""
    check_memory(engine, memory_program, rounds, 256)


def test_huge_pages_of_the_pool_too(engine, memory_program, huge_pages):
    check_memory(engine, memory_program, 3, 16, "huge")


FORKED = """
import os, time
memory = bytearray(os.urandom(48 << 20))
parent = os.getpid()
for _ in range(5):
    if os.getpid() == parent: os.fork()
i = 0
while True:
    i += 1
    if os.getpid() == parent: print(i, flush=True)
    time.sleep(0.1)
"""

PSS = """
import glob, re
texts = [open(f).read() for f in glob.glob('/proc/[0-9]*/smaps_rollup')]
print(sum(int(re.search(r'Pss: *(\\d+)', t)[1]) for t in texts if t))
"""


def test_what_forked_processes_share_costs_once(engine, image):
    """In the store, and again in memory after a restore."""
    engine.docker("run", "-d", "--name", "c1", image("python"), "python3", "-c", FORKED)
    goes_on(engine, "c1")
    assert len(engine.out("exec", "c1", "pidof", "python3").split()) == 6
    for way in ("--leave-running", None):
        engine.docker("checkpoint", "create", *filter(None, [way]), "c1", f"cp{way}")
        stored = sum(pack.stat().st_size for pack in (engine.root / "checkpoint-store").glob("packs/*.pack"))
        assert 48 * MIB < stored < 72 * MIB, stored
        restore(engine, "c1", f"cp{way}")
        goes_on(engine, "c1")
        assert int(engine.out("exec", "c1", "python3", "-c", PSS)) < 120 << 10, "six processes have 48 MiB, once"


REDIS = """
redis-server --save '' --enable-debug-command yes >/dev/null &
until [ "$(redis-cli ping 2>/dev/null)" = PONG ]; do sleep 0.1; done
redis-cli -n 1 debug populate 190000 key 1000 >/dev/null
load() { i=0; while i=$((i+1)); redis-benchmark -q -r 10000 "$@" >/dev/null 2>/tmp/errors && [ ! -s /tmp/errors ]; do echo $i; done
  echo "the benchmark failed: $(cat /tmp/errors)" >&2; }
load -n 4000 -c 20 -t set,get,lpush,lpop,hset &
load -n 2000 -c 5 eval "redis.call('incr','a') redis.call('lpush','list','x') redis.call('incr','b')" 0
"""


def test_redis_under_its_benchmark(engine, image, rounds):
    engine.docker("run", "-d", "--name", "c1", image("redis"), "sh", "-c", REDIS)

    def cli(*arguments):
        return engine.out("exec", "c1", "redis-cli", *arguments)

    wait_until(lambda: engine.numbers("c1"), "the benchmark runs", 120)
    assert int(cli("info", "memory").split("used_memory:")[1].split()[0]) > 200 * MIB
    sample = [f"key:{number}" for number in range(0, 190000, 97)]
    digest = cli("-n", "1", "debug", "digest-value", *sample)

    def check():
        assert engine.docker("logs", "c1").stderr == ""
        assert cli("-n", "1", "dbsize") == "190000"
        assert cli("-n", "1", "debug", "digest-value", *sample) == digest
        # What is changed together is of one instant.
        assert cli("eval", "local a, b = redis.call('get','a'), redis.call('get','b'); "
                   "return a == b and tonumber(a) == redis.call('llen','list') and 'one' or a..' '..b", "0") == "one"

    go_round(engine, "c1", rounds, check)
    # All of it, to the bit: with the clients stopped, who come back stopped.
    engine.docker("exec", "c1", "sh", "-c", "kill -STOP $(pidof redis-benchmark)")
    whole = cli("debug", "digest")
    create(engine, "--leave-running", "c1", "still")
    restore(engine, "c1", "still")
    assert cli("debug", "digest") == whole
    engine.docker("exec", "c1", "sh", "-c", "kill -CONT $(pidof redis-benchmark)")
    goes_on(engine, "c1")
    check()


POSTGRES = """
initdb -D /data/db -A trust --no-sync >/tmp/log 2>&1
postgres -D /data/db -k /tmp -c fsync=off -c jit=off >>/tmp/log 2>&1 &
until pg_isready -q -h /tmp; do sleep 0.1; done
pgbench -q -i -s 2 -h /tmp postgres >>/tmp/log 2>&1 || cat /tmp/log >&2
i=0; while i=$((i+1)); pgbench -n -h 127.0.0.1 -c 6 -j 2 -T 1 postgres >/dev/null 2>/tmp/errors; do echo $i; done
cat /tmp/errors >&2
"""

SUMS = """select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)"""


def test_postgres_under_pgbench(engine, image, rounds):
    engine.docker("run", "-d", "--name", "c1", "--user", "postgres", "--shm-size", "256m", image("postgres"), "sh", "-c", POSTGRES)
    wait_until(lambda: engine.numbers("c1") or engine.inspect("c1", "{{.State.Status}}") != "running", "pgbench runs", 120)

    def psql(statement):
        return engine.out("exec", "c1", "psql", "-XAtq", "-h", "/tmp", "-c", statement, "postgres")

    def check():
        assert engine.docker("logs", "c1").stderr == ""
        sums = psql(SUMS).split("|")
        assert len(sums) == 4 and len(set(sums)) == 1, sums
        assert psql("select count(*) from pgbench_accounts") == "200000"

    check()
    go_round(engine, "c1", rounds, check)
    psql("checkpoint")
    psql("reindex table pgbench_accounts")
    check()


NEAR = """
import threading, time
for _ in range(20): threading.Thread(target=time.sleep, args=(100000,), daemon=True).start()
memory = bytearray(200 << 20)
i = 0
while True:
    for page in range(0, len(memory), 4096):
        if memory[page] != i % 251: print('WRONG', page, flush=True)
        memory[page] = (i + 1) % 251
    i += 1
    print(i, flush=True)
"""


def test_a_container_near_its_limits_is_not_killed_by_its_checkpoints(engine, image, rounds):
    """256 MiB, 200 MiB in use and rewritten; and not one process more allowed."""
    engine.docker("run", "-d", "--name", "c1", "--memory", "256m", "--memory-swap", "256m", "--pids-limit", "21", image("python"),
                  "python3", "-c", NEAR)
    goes_on(engine, "c1")

    def check():
        log = engine.docker("logs", "c1")
        assert "WRONG" not in log.stdout and log.stderr == ""
        numbers = engine.numbers("c1")
        assert engine.inspect("c1", "{{.State.OOMKilled}}") == "false"
        assert engine.inspect("c1", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}") == f"{256 * MIB} 21"
        return numbers

    go_round(engine, "c1", rounds, check)
