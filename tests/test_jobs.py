"""Calls carried out by other processes: each taken as it is done, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import pytest

from mmsim.jobs import Jobs, Processes

MANY = 2000


def slow(seconds, value):
    time.sleep(seconds)
    return value


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


class ByHand(Executor):
    """Does nothing by itself."""

    def __init__(self):
        self.futures = []

    def submit(self, *_call):
        self.futures.append(Future())
        return self.futures[-1]


def test_what_is_done_first_is_taken_first():
    with Jobs(ByHand()) as jobs:
        for key in "abc":
            jobs.submit(key, slow, 0, key)
        first, second, third = jobs.executor.futures
        third.set_result(3)
        first.set_exception(ValueError("no"))
        key, future = jobs.take()
        assert (key, future.result(), len(jobs)) == ("c", 3, 2)
        key, future = jobs.take()
        assert (key, type(future.exception()), len(jobs)) == ("a", ValueError, 1)
        assert not second.cancelled()
    assert second.cancelled()  # nobody will take it


def test_ctrl_c_is_met_where_the_next_is_taken():
    before = signal.getsignal(signal.SIGINT)
    with Jobs(ByHand()) as jobs:
        jobs.submit("never", slow, 0, 0)
        signal.raise_signal(signal.SIGINT)
        assert len(jobs) == 1  # nothing has happened here
        with pytest.raises(KeyboardInterrupt):
            jobs.take()
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_has_no_signals_and_works_all_the_same():
    told = []

    def work():
        with ThreadPoolExecutor(1) as pool, Jobs(pool) as jobs:
            jobs.submit("key", slow, 0, "value")
            key, future = jobs.take()
            told.append((key, future.result()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [("key", "value")]


def test_processes_are_stopped_whatever_they_are_at():
    begin = time.monotonic()
    with Jobs(Processes(2)) as jobs:
        for number in range(5):
            jobs.submit(number, slow, 300, number)
    for worker in jobs.executor._workers:
        worker.join()
    assert time.monotonic() - begin < 100


def test_processes_do_what_they_are_told():
    pool = Processes(2)
    with Jobs(pool) as jobs:
        for number in range(MANY):
            jobs.submit(number, slow, 0, -number)
        found = {}
        while jobs:
            key, future = jobs.take()
            found[key] = future.result()
    assert found == {number: -number for number in range(MANY)}
    pool.shutdown()


def test_a_process_that_dies_is_told_of():
    with Jobs(Processes(2)) as jobs:
        jobs.submit("dies", killed)
        jobs.submit("waits", slow, 300, 0)
        for _ in range(2):
            _, future = jobs.take()
            assert isinstance(future.exception(), BrokenExecutor)


ENDLESS = """
import contextlib, time
from mmsim.jobs import Jobs, Processes
taken = 0
with contextlib.suppress(KeyboardInterrupt), Jobs(Processes(2)) as jobs:
    for number in range(100_000):
        jobs.submit(number, time.sleep, 0.001)
    print("submitted", flush=True)
    while jobs:
        jobs.take()
        taken += 1
print("taken", taken > 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.3, 0.7])
def test_ctrl_c_ends_it_at_any_moment(after):
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            assert running.stdout.readline() == "submitted\n"
            time.sleep(after)
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does
            out, told = running.communicate(timeout=60)
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
    assert (out.startswith("taken"), told, running.returncode) == (True, "", 0)
