"""conform: scenarios on the running kernel, one or the whole catalogue, judged by the model of its release."""

from __future__ import annotations

import platform
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from mmsim import batch
from mmsim.cli.base import Meter, as_json, say
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmsim.check import Bounds, Test
    from mmsim.conformance.run import ConformanceResult, Session
    from mmsim.report.conformance import Conformed
    from mmsim.verdict import Outcome

RUNS = 1000
SECONDS = 5.0
"""How long each scenario of the catalogue may take unless told otherwise."""
SEARCH_SECONDS = 60.0
"""How long each of its searches may."""


class Refused(UserError):
    """What shipped kernels get wrong is never run on one."""


@attrs.frozen
class RunPlan:
    """What the command line asks of every scenario."""

    strategy: str
    release: str | None
    runs: int
    seconds: float | None
    seed: int


def conform_scenario(scenario: str, plan: RunPlan, form: str) -> int:
    """One scenario, many times, with every outcome listed."""
    from mmsim.check import Bounds
    from mmsim.conformance.run import Session
    from mmsim.report import conformance, json_

    with ended_by_sigterm(), Session() as session:
        test, result, complete = _conform(scenario, plan, session, Bounds())
    status = conformance.status(result, complete=complete)
    if form == "json":
        say(as_json("conform", [json_.conformed(test, result, complete=complete)], status))
    else:
        say(conformance.text(test, result, complete=complete))
    return status


def conform_catalogue(plan: RunPlan, form: str, *, verbose: bool) -> int:
    """Every scenario of the catalogue, a line for each, and the totals."""
    from mmsim import catalogue
    from mmsim.check import Bounds
    from mmsim.conformance.run import MODEL_ONLY, Session
    from mmsim.report import conformance, json_

    plan = attrs.evolve(plan, seconds=plan.seconds or SECONDS)
    bounds = Bounds(max_seconds=SEARCH_SECONDS)
    width = max(map(len, catalogue.names()))
    done: list[Conformed] = []
    with ended_by_sigterm(), Session() as session:
        for name in catalogue.names():
            one = _one_of_many(name, plan, session, bounds)
            if one is None:
                break
            done.append(one)
            if form == "text" and (verbose or one.refused != MODEL_ONLY):
                say(conformance.line(one, width, verbose=verbose))
            if one.result is not None and one.result.interrupted:
                break
    interrupted = len(done) < len(catalogue.names())
    status = conformance.overall(done, interrupted=interrupted)
    if form == "json":
        say(as_json("conform", [json_.conformed_of_many(one) for one in done], status))
    else:
        say(conformance.totals(done, platform.release(), interrupted=interrupted))
    return status


def _one_of_many(name: str, plan: RunPlan, session: Session, bounds: Bounds) -> Conformed | None:
    """None where Ctrl-C came before there was anything to say."""
    from mmsim import catalogue
    from mmsim.conformance.run import MODEL_ONLY
    from mmsim.report.conformance import Conformed

    if catalogue.find(name).scenario.model_only:
        return Conformed(name, refused=MODEL_ONLY)
    try:
        test, result, complete = _conform(name, plan, session, bounds)
    except KeyboardInterrupt:
        return None
    except Refused as error:
        return Conformed(name, refused=str(error))
    except UserError as error:
        return Conformed(name, failed=str(error))
    return Conformed(name, test=test, result=result, complete=complete)


def _conform(scenario: str, plan: RunPlan, session: Session, bounds: Bounds) -> tuple[Test, ConformanceResult, bool]:
    """The test that says what is allowed, what the kernel did, and whether all that is allowed is known."""
    from mmsim.conformance import needs, profile, run
    from mmsim.scenario import LINUX_CARRIES

    running = profile.running().name
    linux = batch.load(scenario, LINUX_CARRIES, running)
    run.refuse_model_only(linux.scenario)
    same = (plan.strategy, plan.release or running) == (LINUX_CARRIES, running)
    # loaded once where it is the same, for each loading makes classes of its own, and so outcomes that equal no others
    test = linux if same else batch.load(scenario, plan.strategy, plan.release or running)
    sentence = needs.refusal(test.scenario)
    if sentence is not None:
        return test, run.ConformanceResult(platform.release(), 0, skipped=sentence), True
    outcomes = _outcomes(linux, bounds, refuse=True)
    if isinstance(outcomes, str):
        return test, run.ConformanceResult(platform.release(), 0, skipped=outcomes), False
    if not same:
        outcomes = _outcomes(test, bounds)
    meter = Meter(f"{test.name} on the running kernel")
    result = run.conform(
        test.scenario,
        None if isinstance(outcomes, str) else outcomes,
        runs=plan.runs,
        seed=plan.seed,
        seconds=plan.seconds,
        progress=meter.runs,
        session=session,
    )
    meter.end()
    return test, result, not isinstance(outcomes, str)


def _outcomes(test: Test, bounds: Bounds, *, refuse: bool = False) -> tuple[Outcome, ...] | str:
    """All that the model reaches, or a sentence.  KeyboardInterrupt; `Refused` where a property is broken."""
    from mmsim import check as checker
    from mmsim.verdict import Holds, Undecided

    meter = Meter(f"{test.name} in the model")
    verdict = checker.check(test, bounds=bounds, progress=meter)
    meter.end()
    if isinstance(verdict, Holds):
        return verdict.outcomes
    if isinstance(verdict, Undecided):
        if verdict.reason == "interrupted":
            raise KeyboardInterrupt
        return f"the model does not know all that is possible: {verdict.reason}"
    broken = f"in the model {test.release.name} breaks `{verdict.violation.property}` under {test.strategy.name}"
    if refuse:
        msg = f"{test.name} is not run on a real kernel: {broken}"
        raise Refused(msg)
    return f"the model does not know all that is possible: {broken}"


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, so that nothing is left behind."""
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
