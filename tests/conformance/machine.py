"""What the tests of the running kernel share: samples, and what must not be left behind."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent / "samples"


@functools.cache
def sample(name):
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def descendants():
    """This process's children and theirs; zombies too."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def workers(tmp_path):
    """Processes that have the scratch directory mounted in a namespace of theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(tmp_path) in (entry / "mounts").read_text():
                found.append(entry.name)
        except OSError:
            continue
    return found


def loops(tmp_path):
    """Loop devices on files there."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found += [entry.parts[3]] if str(tmp_path) in entry.read_text() else []
        except OSError:
            continue
    return found
