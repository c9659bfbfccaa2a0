"""What the running kernel allows, and a scratch directory in which nothing may be left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mmsim.conformance import run
from tests.conformance.machine import descendants, loops


@pytest.fixture(scope="session")
def probed():
    return run.probe()


@pytest.fixture
def system_calls(probed):
    if probed.system_calls:
        pytest.skip(probed.system_calls)


@pytest.fixture
def slow_device(system_calls, probed):
    if probed.slow_device:
        pytest.skip(probed.slow_device)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where workers put their scratch directories; nothing may be left there, nor mounted, nor running."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descendants()
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert "mmsim /" not in Path("/proc/self/mounts").read_text()
    assert descendants() <= before
    assert not loops(tmp_path)
