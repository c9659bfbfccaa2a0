"""From the state in which a timed run ended to its `Result`."""

from __future__ import annotations

from typing import Any

from mmsim.timed.cpus import Activity, Runner
from mmsim.timed.environment import Environment
from mmsim.timed.result import RUNNING, Blocked, Ended, Result
from mmsim.timed.waiting import TIMED_WAIT
from mmsim.verdict import WAITING


def summary(run: Environment, *, interrupted: bool) -> Result:
    """What the run found out."""
    quiet = not (interrupted or run.violation or any(map(_under_way, run.runners)))
    stuck = [r for r in run.runners if quiet and r.activity in (Activity.BLOCKED, Activity.READY) and not _idle(r)]
    if interrupted:
        ended = Ended.INTERRUPTED
    elif run.violation is not None:
        ended = Ended.VIOLATION
    else:
        ended = _how_it_ended(run, stuck) if quiet else Ended.UNTIL
    last_ns = max((r.last_ns for r in run.runners), default=0) if quiet else run.now
    end_ns = run.horizon_ns if ended is Ended.UNTIL else last_ns
    recorder = run.recorder
    return Result(
        outcomes=tuple((r.thread.name, _outcome(r, quiet=quiet)) for r in run.runners),
        ended=ended,
        end_ns=end_ns,
        steps=sum(r.steps for r in run.runners),
        cpus=len(run.cpus.all),
        seed=run.seed,
        busy_ns=run.cpus.busy_ns(end_ns),
        locks=run.locks.uses(),
        blocked=tuple(_blocked(run, r) for r in stuck),
        violation=run.violation,
        timeline=tuple(recorder.steps) if recorder is not None else (),
        system_calls=tuple(recorder.system_calls) if recorder is not None else (),
    )


def _under_way(runner: Runner) -> bool:
    """Whether the runner's next move is only a matter of time."""
    if runner.activity is Activity.BLOCKED:
        return runner.step is not None and runner.step.word == TIMED_WAIT
    return runner.activity in (Activity.RUNNING, Activity.ASLEEP)


def _idle(runner: Runner) -> bool:
    """Whether it is a device that has no request."""
    waits = runner.step is not None and runner.step.word == "wait_until"
    return waits and (runner.interrupt or runner.thread.silent)


def _how_it_ended(run: Environment, stuck: list[Runner]) -> Ended:
    if not stuck:
        return Ended.FINISHED
    silent = any(r.activity is Activity.SILENT for r in run.runners)
    return Ended.SILENT if silent and not run.locks.cycle(stuck) else Ended.DEADLOCK


def _outcome(runner: Runner, *, quiet: bool) -> Any:
    if runner.activity is Activity.FINISHED:
        return runner.outcome
    return WAITING if quiet or runner.activity is Activity.SILENT else RUNNING


def _blocked(run: Environment, runner: Runner) -> Blocked:
    if runner.step is None:
        running = tuple(cpu.runner.thread.name for cpu in run.cpus.all if cpu.runner is not None)
        return Blocked(runner.thread.name, "run", "a CPU", running, runner.last_ns)
    cell = runner.step.cell
    holders = tuple(holder.thread.name for holder in run.locks.holders.get(cell, ()))
    return Blocked(runner.thread.name, runner.step.word, str(cell), holders, runner.blocked_ns)
