"""The workloads: what is done, in turn, and what of it is measured."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from engines import Stasis
from host import MIB, PeakMemory, pss_mib, timed, wait_until


def in_turn(peers, rounds, action, warm=1):
    """What `action` returns, by name, in each round after the warm ones. A peer that fails is said to, and left out."""
    series = {peer.name: [] for peer in peers}
    for n in range(rounds + warm):
        for peer in [peer for peer in peers if peer.name in series]:
            try:
                value = action(peer, n)
            except FAILURES as error:
                complain(peer, error)
                del series[peer.name]
                continue
            if n >= warm:
                series[peer.name].append(value)
    return series


FAILURES = (RuntimeError, subprocess.CalledProcessError)


def complain(peer, error):
    print(f"{peer.name} is left out: {str(error)[:300]}", file=sys.stderr)


def bench_machine(table, directory):
    """What the machine can do: a floor for all others. One figure each, beside nothing."""
    block = os.urandom(1 << 20)

    def copy():
        buffer = bytearray(256 << 20)
        return timed(lambda: [buffer.__setitem__(slice(n << 20, (n + 1) << 20), block) for n in range(256)]) * 4

    def write():
        with open(directory / "written", "wb", buffering=0) as file:
            return timed(lambda: ([file.write(block) for _ in range(256)], os.fsync(file.fileno()))) * 4

    def clone():
        buffer = bytearray(os.urandom(1 << 20)) * 256  # touched
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        passed = (time.monotonic() - begin) * 1000
        os.waitpid(pid, 0)
        return passed * 4 * (len(buffer) >> 28)

    for what, action in (("copy of memory", copy), ("fork of memory", clone), ("durable write", write)):
        table.add(f"the machine: {what}, ms per GiB", {"-": [action() for _ in range(3)]})
    (directory / "written").unlink()


def bench_life(table, peers, rounds):
    table.add("create, start, wait, rm `true`, ms", in_turn(peers, rounds, lambda p, n: timed(p.life)))


def bench_exec(table, peers, rounds):
    containers = {p.name: p.start_idle() for p in peers}
    table.add("exec of `true`, ms", in_turn(peers, rounds, lambda p, n: timed(lambda: p.exec_true(containers[p.name]))))
    for p in peers:
        p.remove(containers[p.name])


def bench_daemons(table, engines, count=20):
    series = {}
    for engine in engines:
        containers = [engine.start_idle() for _ in range(count)]
        series[engine.name] = [pss_mib(engine.processes()) / count]
        for container in containers:
            engine.remove(container)
    table.add(f"daemons, MiB per container of {count}", series)


GAP = "/tmp/gap"  # in the container


# What is checkpointed: a title, and the command of a program that keeps to pace.h.
def memory(mib):
    return f"{mib} MiB", ("/memory", str(mib), "20000", GAP)


def structured(mib):
    return f"{mib} MiB of records", ("/memory", str(mib), "20000", GAP, "structured")


def processes(count):
    return f"{count} processes", ("/memory", "4", "1000", GAP, "mixed", str(count - 1))


def redis(mib):
    return f"redis of {mib} MiB", ("/redis_load", str(mib), GAP)


def hashes(mib):
    return f"redis of {mib} MiB of hashes", ("/redis_load", str(mib), GAP, "hashes")


def heap(count):
    return f"python with {count} records", ("/usr/bin/python3", "/heap.py", str(count), GAP)


def said(peer, container, name=GAP):
    """The numbers that the program has written."""
    try:
        return [int(line) for line in pathlib.Path(f"/proc/{peer.pid(container)}/root{name}").read_text().split()]
    except OSError:
        return []


def add_all(table, rows, series):
    """series: name -> one tuple for each round, with a value for each row."""
    for which, what in enumerate(rows):
        table.add(what, {name: [one[which] for one in taken] for name, taken in series.items() if taken})


def bench_gap(table, peers, rounds, workload):
    """Leave-running checkpoints of a program that writes: the longest gap that it sees itself, and the whole call."""
    title, command = workload
    containers = {p.name: p.start_program(*command) for p in peers}

    def round_of(peer, n):
        container = containers[peer.name]
        os.kill(peer.pid(container), signal.SIGUSR1)
        time.sleep(0.2)
        call = timed(lambda: peer.checkpoint(container, f"gap{n}", leave=True))
        time.sleep(0.2)
        size = peer.size(container, f"gap{n}") / MIB
        # Ours are kept: the next one is to find what it shares with them, and its size is what it adds.
        if not isinstance(peer, Stasis):
            peer.forget(container, f"gap{n}")
        return said(peer, container)[-1] / 1000, call, size

    add_all(table, (f"gap seen inside, {title}, ms", f"left running again, {title}, whole, ms",
                    f"left running again, {title}, MiB added"), in_turn(peers, rounds, round_of))
    for p in peers:
        p.remove(containers[p.name])


def restore_to_first_step(peer, container, name):
    """From the call to the first step of the program, which says itself when that was; and to the end of the call."""
    begin = time.time()
    call = timed(lambda: peer.restore(container, name))
    after = lambda: [moment for moment in said(peer, container, GAP + ".first") if moment > begin * 1e6]
    wait_until(after)
    return after()[0] / 1000 - begin * 1000, call


def bench_checkpoint(table, peers, rounds, workload):
    """Checkpoints that end the container, and their restores."""
    title, command = workload
    saves, restores = ({p.name: [] for p in peers} for _ in range(2))
    for n in range(rounds):
        for p in peers:
            container = p.start_program(*command)
            try:
                took = timed(lambda: p.checkpoint(container, f"cp{n}", leave=False))
                saves[p.name].append((took, p.size(container, f"cp{n}") / MIB))
                p.wait_gone(container)
                restores[p.name].append(restore_to_first_step(p, container, f"cp{n}"))
            except FAILURES as error:
                complain(p, error)
            p.remove(container)
            shutil.rmtree(p.directory / f"cp{n}", ignore_errors=True)
    add_all(table, (f"checkpoint of {title}, ms", f"checkpoint of {title}, MiB on disk"), saves)
    add_all(table, (f"restore of {title} to its first step, ms", f"restore of {title}, whole call, ms"), restores)


def bench_peak(table, peers, rounds, workload):
    """The memory of who makes a checkpoint: not the container's own, nor what it writes to while it is copied."""
    title, command = workload

    def round_of(peer, n):
        container = peer.start_program(*command)
        with PeakMemory(peer.directory.parent) as peak:
            peer.checkpoint(container, f"peak{n}", leave=True)
        peer.forget(container, f"peak{n}")
        peer.remove(container)
        return peak.anonymous, peak.whole

    add_all(table, (f"peak memory of who saves {title}, MiB", f"the same with mapped files, {title}, MiB"),
            in_turn(peers, rounds, round_of, warm=0))


def bench_many(table, peers, rounds, count=20):
    """Small containers: all saved one after the other, then all brought back."""

    def round_of(peer, n):
        containers = [peer.start_idle() for _ in range(count)]
        name = lambda container: f"many{n}-{containers.index(container)}"
        save = timed(lambda: [peer.checkpoint(container, name(container), leave=False) for container in containers])
        size = sum(peer.size(container, name(container)) for container in containers) / MIB
        for container in containers:
            peer.wait_gone(container)
        back = timed(lambda: [peer.restore(container, name(container)) for container in containers])
        for container in containers:
            peer.forget(container, name(container))
            peer.remove(container)
        return save, size, back

    add_all(table, (f"{count} small containers: all saved, ms", f"{count} small containers: MiB on disk",
                    f"{count} small containers: all restored, ms"), in_turn(peers, rounds, round_of, warm=0))


def bench_chain(table, stasis, links=100, some=10):
    """A chain of checkpoints of a small container that changes files: what the last links cost against the first ones."""
    container = stasis.create(["sh", "-c", "i=0; while sleep 0.02; do i=$((i+1)); echo $i > /tmp/f$((i%50)); "
                               "head -c 16384 /dev/urandom > /tmp/r$((i%20)); done"])
    stasis.api("POST", f"/containers/{container}/start")
    time.sleep(1)
    path = f"/containers/{container}/checkpoints"
    made = []
    for n in range(links):
        make = timed(lambda: stasis.checkpoint(container, f"link{n}", leave=True))
        made.append((make, timed(lambda: stasis.api("GET", path)) / (n + 1)))
    stasis.api("POST", f"/containers/{container}/kill")
    restored = {}
    for n in (n for pair in zip(range(some), range(links - some, links)) for n in pair):
        stasis.wait_gone(container)
        restored[n] = timed(lambda: stasis.restore(container, f"link{n}"))
        stasis.api("POST", f"/containers/{container}/kill")
    stasis.remove(container)
    ends = lambda values: {"stasis": values[links - some:], "first": values[:some]}
    table.add(f"chain, the last {some} of {links}: make, ms", ends([make for make, _ in made]))
    table.add(f"chain, the last {some} of {links}: list, ms a link", ends([listed for _, listed in made]))
    table.add(f"chain, the last {some} of {links}: restore, ms", ends([restored.get(n) for n in range(links)]))
