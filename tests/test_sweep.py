"""Sweeps: what is planned, what is measured where, and that nothing is lost with a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import attrs
import pytest

from mmsim import sweep
from mmsim.errors import UserError
from mmsim.report import costs
from mmsim.timed.statistics import Interval

POINTS = sweep.plan(
    "gup_one_page", ["wait_for_pins", "delayed_unmap"], "v6.18", "cloud", [1, 2], repeats=2, seed=5, seconds=1e-5
)


def nothing(*_told):
    pass


def measured(points=POINTS, executor=None):
    found = dict(sweep.carry_out(points, executor, nothing))
    return [found[point] for point in points]


def test_a_plan_has_every_point_once():
    assert len(set(POINTS)) == 8
    assert {(point.strategy, point.cpus, point.seed) for point in POINTS} == {
        (s, c, r) for s in ("wait_for_pins", "delayed_unmap") for c in (1, 2) for r in (5, 6)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", (2,)),
        ("1, 3,1", (1, 3)),
        ("1,2,...,64", (1, 2, 4, 8, 16, 32, 64)),
        ("3,...,20", (3, 6, 12, 20)),
        ("8,...,2", (8, 2)),
    ],
)
def test_numbers_of_cpus(text, expected):
    assert sweep.counts(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1,", "...,4", "1,...", "1,...,...,8", "2000", "1.5"])
def test_impossible_numbers_of_cpus(text):
    with pytest.raises(UserError) as caught:
        sweep.counts(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workload": "gup"}, "unknown workload 'gup'"),
        ({"strategies": ["nothing"]}, "nothing"),
        ({"release": "v9"}, "unknown release"),
        ({"cost": "x"}, "no cost model"),
        ({"delay": "disk=soon"}, "'soon' is not understood"),
    ],
)
def test_a_plan_of_what_is_not_there(changes, said):
    good = {"workload": "dio_server", "strategies": ["wait_for_pins"], "release": "v6.18", "cost": "cloud", "cpus": [1]}
    with pytest.raises(UserError, match=said):
        sweep.plan(**{**good, **changes}, repeats=1, seed=0)


def test_other_processes_measure_the_same():
    with ProcessPoolExecutor(2) as pool:
        assert measured(executor=pool) == measured()


def test_progress_tells_how_far_it_is():
    told = []
    list(sweep.carry_out(POINTS[:3], None, lambda *args: told.append(args)))
    assert [(done, wanted) for done, wanted, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][2] == 0


class Flaky:
    """An executor whose workers die with the first measurements they are given."""

    def __init__(self, deaths):
        self.deaths = deaths

    def submit(self, function, point):
        future = Future()
        if self.deaths:
            self.deaths -= 1
            future.set_exception(BrokenProcessPool("a worker was killed"))
        else:
            future.set_result(function(point))
        return future


def test_what_is_lost_with_its_worker_is_measured_again():
    assert measured(executor=Flaky(3)) == measured()


def test_a_measurement_that_kills_every_worker_is_an_error():
    with pytest.raises(BrokenProcessPool):
        measured(POINTS[:1], Flaky(100))


def test_a_pool_that_has_died_is_told_in_a_sentence():
    class Dead:
        def submit(self, _function, _point):
            raise BrokenProcessPool("not usable anymore")

    with pytest.raises(UserError, match="try fewer --jobs"):
        measured(executor=Dead())


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_was_measured(jobs):
    command = [sys.executable, "-m", "mmsim", "simulate", "gup_one_page", "--seconds", "1e-4", "--repeats", "5000"]
    running = subprocess.Popen(
        [*command, "--jobs", jobs, "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        time.sleep(6)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        out, told = running.communicate(timeout=120)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
    header, *rows = out.splitlines()
    assert header.startswith("workload,")
    assert 0 < len(rows) < 5000
    assert f"interrupted: {len(rows)} of 5000 runs were measured" in told
    assert running.returncode == 3


def test_ratios_are_paired_by_seed():
    found = measured()
    groups = costs.grouped(found)
    ratio = costs.ratios(groups["delayed_unmap", 2], groups["wait_for_pins", 2])
    assert ratio["gup+unpin p50 ns"].middle > 1
    assert "TLB shootdowns /op" in ratio  # nothing to nothing is one
    strangers = [attrs.evolve(one, seed=99) for one in groups["wait_for_pins", 2]]
    with pytest.raises(UserError, match="not measured under any of the same seeds"):
        costs.ratios(groups["delayed_unmap", 2], strangers)


def test_a_table_is_no_wider_than_a_terminal():
    many = [attrs.evolve(measured(POINTS[:1])[0], cpus=cpus) for cpus in range(1, 30)]
    lines = costs.text(many).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.startswith("CPUs ") for line in lines) > 1


def test_a_table_of_nothing():
    assert costs.text([]) == "nothing was measured"


def test_figures_as_they_are_shown():
    assert costs.shown(Interval(1234567, 1111111, 1358023)) == "1.235M ±10%"
    assert costs.shown(Interval(0.25)) == "0.25"
    assert costs.shown(Interval(1 / 3, seen=(0, 1))) == "0.333 (0 to 1)"
    assert costs.shown(None) == "-"
    assert costs.span(Interval(1.3, 1.2, 1.4)) == "x1.3 [1.2, 1.4]"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    from mmsim.report import plots

    path = tmp_path / f"picture{suffix}"
    plots.check(str(path))
    plots.draw(measured(), str(path))
    content = path.read_bytes()
    assert len(content) > 10_000
    if suffix == ".svg":
        assert b"wait_for_pins" in content
        plots.draw(measured(), str(path))
        assert path.read_bytes() == content


def killed_at_first(point, pids):
    """Measure, but kill the first worker that is asked."""
    marker = pids / "killed"
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return sweep.measured(point)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_loses_nothing_with_a_worker(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    own = sweep.measured
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, scheduler_port=0
    ) as cluster:
        executor = sweep.cluster(cluster.scheduler_address)
        submit = executor.submit
        monkeypatch.setattr(executor, "submit", lambda _function, point: submit(killed_at_first, point, tmp_path))
        found = dict(sweep.carry_out(POINTS, executor, nothing))
        executor._client.close()
        assert (tmp_path / "killed").exists()
        assert found == {point: own(point) for point in POINTS}
