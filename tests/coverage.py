"""A pytest plugin for tests/mutation.py: which lines of the mutated files each test runs, and how long a test may take.

A line that runs while a module is imported is no test's own: every test sees it.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
import time
from pathlib import Path

import pytest

RECORD, LIMITS = "MMSIM_MUTATION_RECORD", "MMSIM_MUTATION_LIMITS"
"""Environment: the file that the record goes to; the file that says how many seconds each test may take."""
UNKNOWN = 60
"""Seconds for a test that was not recorded."""
NOTE = "mmsim_mutation_note"
"""What the instrumented files call, a builtin."""


class Recorder:
    """Collects what the instrumented files note, and writes {test: [seconds, {file: lines}]} at the end."""

    def __init__(self, target):
        self.target = Path(target)
        self.found = {}
        self.lines = {}
        setattr(builtins, NOTE, self.note)

    def note(self, path, line):
        self.lines.setdefault(path, set()).add(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.lines = {}
        began = time.monotonic()
        try:
            return (yield)
        finally:
            seen = {path: sorted(lines) for path, lines in self.lines.items()}
            self.found[item.nodeid] = [time.monotonic() - began, seen]

    def pytest_sessionfinish(self):
        self.target.write_text(json.dumps(self.found))


class Limits:
    """Fails a test that takes longer than it may: a mutant may loop for ever."""

    def __init__(self, source):
        self.seconds = json.loads(Path(source).read_text())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, self.seconds.get(item.nodeid, UNKNOWN))
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def too_long(_signal, _frame):
    msg = "the test takes too long"
    raise TimeoutError(msg)


def pytest_configure(config):
    if target := os.environ.get(RECORD):
        config.pluginmanager.register(Recorder(target))
    if source := os.environ.get(LIMITS):
        config.pluginmanager.register(Limits(source))
