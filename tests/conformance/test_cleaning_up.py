"""Nothing is left: no mount, loop device, process or file, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from mmsim.conformance.run import conform
from mmsim.errors import UserError
from tests.conformance.machine import SAMPLES, loops, sample, workers

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("slow_device", "scratch")]

SESSION = """
import os, signal, sys
sys.path.insert(0, {samples!r})
import everything
from mmsim.conformance.run import conform
from mmsim.cli.conforming import ended_by_sigterm
signals = []
def progress(done, wanted):
    if done and not signals:
        signals.append(signal.{signal})
        os.kill(os.getpid(), signal.{signal})
with ended_by_sigterm():
    result = conform(everything.scenario, None, 1_000_000, progress=progress, lanes=2)
print(result.skipped or (result.interrupted, 0 < result.runs < 1_000_000))
"""


def eventually_gone(tmp_path):
    deadline = time.monotonic() + 10
    while (workers(tmp_path) or loops(tmp_path) or list(tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers(tmp_path)
    assert not loops(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_after_all_went_well():
    result = conform(sample("everything").scenario, None, 4, lanes=2)
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.runs == 4
    assert not result.stuck


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_after_a_signal_to_the_session(signal, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", SESSION.format(samples=str(SAMPLES), signal=signal)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(SAMPLES.parents[2])},
    )
    if signal == "SIGKILL":
        assert ended.returncode in {-9, 0}, ended.stderr
    elif "True" not in ended.stdout:
        assert ended.returncode == 0, ended.stderr
        pytest.skip(ended.stdout)
    else:
        assert ended.stdout == "(True, True)\n", ended.stderr
    eventually_gone(tmp_path)


@pytest.mark.parametrize(
    ("killed", "sentence"),
    [
        ("tested_is_killed", "the process that ran suicide was ended by SIGKILL"),
        ("worker_is_killed", "the worker that runs the scenario was ended by SIGKILL"),
    ],
)
def test_after_a_crash(killed, sentence, tmp_path):
    scenario = getattr(sample("everything"), killed)
    skipped = conform(sample("everything").scenario, None, 1, lanes=1).skipped
    if skipped:
        pytest.skip(skipped)
    with pytest.raises(UserError, match=f"^{sentence}$"):
        conform(scenario, None, 4, lanes=2)
    eventually_gone(tmp_path)
