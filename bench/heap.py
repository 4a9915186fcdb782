"""heap.py COUNT FILE: a Python program that holds COUNT records, each of a few objects, and keeps to the pace of pace.h."""

import os
import select
import signal
import sys
import time


class Record:
    def __init__(self, number):
        self.number = number
        self.name = f"user-{number}"
        self.score = number * 1.5
        self.tags = [number % 7, number % 1000, number]
        self.seen = {"first": number, "last": number + 1}


def main():
    count, path = int(sys.argv[1]), sys.argv[2]
    records = [Record(number) for number in range(count)]
    gaps = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    first = os.open(path + ".first", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    print("ready", flush=True)
    longest, last, last_of_day = 0, time.monotonic_ns() // 1000, time.time_ns() // 1000
    while True:
        if select.select([0], [], [], 0.001)[0] and not os.read(0, 64):
            return
        records[last % count].score += 1
        now = time.monotonic_ns() // 1000
        if asked:
            longest = 0
            asked.clear()
        if now - last > longest:
            longest = now - last
            os.write(gaps, b"%d\n" % longest)
        of_day = time.time_ns() // 1000
        if of_day - last_of_day > 100000:
            os.write(first, b"%d\n" % of_day)
        last, last_of_day = now, of_day


main()
