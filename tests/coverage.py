"""A pytest plugin for tests/mutation.py: which lines of the mutated files each test runs, and how long a test may take.

A line that runs while a module is imported is no test's own: every test sees it.
"""

from __future__ import annotations

import ast
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
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


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


def statements(text):
    """{first line: (its column, last line)} of the statements inside functions that a line can be put before."""
    found, lines = {}, text.splitlines()
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, FUNCTIONS):
            for node in ast.walk(function):
                if node is not function and isinstance(node, ast.stmt):
                    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
                    if not lines[first - 1].lstrip().startswith("elif"):
                        found[first] = node.col_offset, node.end_lineno
    return found


def instrumented(path, text):
    """The text of a file with a call before each statement of a function, that notes the line.

    A tracer would see as much, but in CPython 3.11 it touches the locals that the engine tells states by.
    """
    lines = text.splitlines(keepends=True)
    for first, (column, _) in statements(text).items():
        lines[first - 1] = f"{' ' * column}{NOTE}({path!r}, {first})\n{lines[first - 1]}"
    return "".join(lines)


def noted(text, changed):
    """The lines that a test notes if it runs one of the `changed` lines; None if every test has to be tried.

    That is so of lines that run while the file is imported, and of a function that remembers its results: what it
    told one test it tells all.
    """
    inside = statements(text)
    cached = [
        range(min(each.lineno for each in node.decorator_list), node.end_lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, FUNCTIONS) and any("cache" in ast.unparse(each) for each in node.decorator_list)
    ]
    found = set()
    for line in changed:
        around = [first for first, (_, last) in inside.items() if first <= line <= last]
        if not around or any(line in lines for lines in cached):
            return None
        found.add(max(around))
    return found
