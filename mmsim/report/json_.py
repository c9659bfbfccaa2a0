"""Verdicts for programs: JSON under the schema `mmsim/1`.

Every command's answer is one object:

    schema      "mmsim/1"; a change that could break a reader raises the number, new keys alone do not
    command     "check", "compare", "explain", "replay", "list", "simulate" or "conform"
    status      the exit status: 0 as expected, 1 not as expected, 3 undecided
    results     one object per test, in the order in which they were asked for
    designs     of `compare` alone: one object per design, see below

A result of `check`, `compare` and `explain`:

    test          {scenario, strategy, release, hash}
    verdict       "Holds", "Violated" or "Undecided"
    expected      "Holds", "Violated" or null
    as_expected   true or false
    unwitnessed   names of the `sometimes` that were never seen
    reason        why it is undecided, or null
    violation     null, or {property, detail, schedule, steps, switches, shortest, replay, diagram, argument}
    outcomes      [{threads: {NAME: TEXT}, breaks: [PROPERTY]}], in a fixed order
    observation   {word, breaking, other}: counts of classes of outcomes, not of runs
    coverage      {how, states, transitions, waiting, depth}
    seconds       wall time of the search
    question      the chapter of the catalogue, or ""
    sometimes     {NAME: TEXT}: an outcome that shows each `sometimes`, or null
    history       whether the test is about a release of the past
    observed      {waits: [{call, function, field}], seal: {sleeps_ns, steps, sleeps_in}, needless: [NAME],
                  drops: [{field, context, last}]}; sleeps_ns and steps are null where there is no limit
    reused        whether the answer was kept from an earlier run

A design of `compare`:

    name          the strategy's name
    right         {holds, of}: how many of its tests hold
    unexpected    names of scenarios whose verdict is not the expected one
    broken        {PROPERTY: [SCENARIO]}: what its violations break
    needless      {SCENARIO: [NAME]}: refusals that nobody needed
    waits         {CALL: [FUNCTION]}: who is left waiting for a silent device, in which kernel function
    seal          {sleeps_ns, steps, sleeps_in}: the longest over all tests; null where there is no limit
    drops         {FIELD: [CONTEXT]}: where the last of each count of a page was seen to be given back
    budget        {page_flags, struct_page_bytes_32, struct_page_bytes_64, callers_to_convert, ...}
    price         [{path, steps, atomics, lines: {KIND: N}, slept_ns, waits}]
    more          the same less `linux`: [{path, steps, atomics, lines: {KIND: N}, waits}]

A result of `replay`: {test, violation: null or {property, detail}, outcomes: {NAME: TEXT}, diagram, argument, steps}
with steps = [{thread, context, word, cell, old, new, result, alternative, alternatives, at: [{function, file, line}]}].
A result of `simulate`: {test, ended, end_ns, steps, cpus, seed, outcomes: {NAME: TEXT}, violation, busy_ns: [NS],
locks: [{lock_class, acquired, waits, wait_ns, longest_wait_ns}], system_calls: [{thread, name, start_ns, end_ns,
steps}]}; times in ns; and of a workload, one result a run: {workload, strategy, release, cost, cpus, seed,
simulated_ns, steps, operation, operations, ended, violation, figures: {NAME: NUMBER}, held: [[NS, PAGES]],
lines: {KIND: {fills, transfers, memory, queued_ns}}, locks}.  A result of `conform`: {test, release, runs, seen,
possible, agrees, skipped, model_complete, observed: [{threads, count}], impossible, torn, unseen, silent: [{threads}],
stuck: [TEXT], seconds}; of the whole catalogue one for each scenario, with its name as `scenario`, or {scenario,
not_run, failed} where it was refused or went wrong.
A result of `conform --random`: {linux, release, strategy, seed, programs, calls, agreed, skipped, interrupted,
not_asked: [TEXT], forking, linux_seconds, forking_seconds, model_seconds, jobs, seconds, differences: [{program,
repeats, scenario, calls: [{process, call, linux, model, agree}]}]}; `scenario` is the text of a scenario file.
A result of `conform --strace`: {path, release, strategy, lines, calls, compared: {CALL: N}, agreed, followed,
differences: [{line, call, linux, model}], taken_from_the_log: {TEXT: N}, not_compared: {TEXT: N}, outside: {CALL: N},
unreadable: [{line, text, reason}], without_end: [{line, call}]}.

Values inside the simulated machine are written as text, exactly as the text report writes them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.check.judge import holds_for
from mmsim.report.argument import argument
from mmsim.report.diagram import diagram
from mmsim.report.judged import broken, detail, observation, told
from mmsim.report.programs import answer, scenario, written
from mmsim.report.values import show
from mmsim.scenario import LINUX_CARRIES
from mmsim.verdict import Undecided, Violated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmsim.check import Test
    from mmsim.conformance.run import ConformanceResult
    from mmsim.conformance.sequential.run import ProgramsResult
    from mmsim.report.conformance import Conformed
    from mmsim.report.design import Design
    from mmsim.report.judged import Judged
    from mmsim.timed.result import Result
    from mmsim.trace import Execution, TracedStep
    from mmsim.verdict import Observed, Outcome

SCHEMA: Final = "mmsim/1"


def document(command: str, results: Sequence[dict[str, Any]], status: int = 0, **more: Any) -> str:
    """One command's whole answer as JSON text."""
    answer = {"schema": SCHEMA, "command": command, "status": status, "results": list(results), **more}
    return json.dumps(answer, indent=2)


def result(judged: Judged, *, all_steps: bool = False) -> dict[str, Any]:
    """One judged test."""
    answer, coverage = judged.verdict, judged.verdict.coverage
    word, breaking, other = observation(judged)
    expected = judged.judgement.expected
    outcomes = [
        {
            "threads": threads(outcome),
            "breaks": list(broken(judged.test.scenario, outcome)),
        }
        for outcome in answer.outcomes
    ]
    return {
        "test": test(judged.test),
        "verdict": judged.word,
        "expected": None if expected is None else expected.value,
        "as_expected": judged.judgement.as_expected,
        "unwitnessed": list(judged.judgement.unwitnessed),
        "reason": answer.reason if isinstance(answer, Undecided) else None,
        "violation": violation(judged, all_steps=all_steps),
        "outcomes": sorted(outcomes, key=repr),
        "observation": {"word": word, "breaking": breaking, "other": other},
        "coverage": {
            "how": coverage.how,
            "states": coverage.states,
            "transitions": coverage.transitions,
            "waiting": coverage.waiting,
            "depth": coverage.depth,
        },
        "seconds": round(judged.seconds, 3),
        "question": judged.test.scenario.question,
        "sometimes": {
            one.__name__: next((told(outcome) for outcome in answer.outcomes if holds_for(one, outcome)), None)
            for one in judged.test.scenario.sometimes
        },
        "history": bool(judged.test.scenario.history) and judged.test.strategy.name == LINUX_CARRIES,
        "observed": observed(answer.observed),
        "reused": False,
    }


def observed(seen: Observed) -> dict[str, Any]:
    """What the search saw beside the verdict."""
    return {
        "waits": [attrs.asdict(wait) for wait in seen.waits],
        "seal": {"sleeps_ns": seen.seal_ns, "steps": seen.seal_steps, "sleeps_in": list(seen.seal_sleeps_in)},
        "needless": list(seen.needless),
        "drops": [attrs.asdict(drop) for drop in seen.drops],
    }


def design(one: Design) -> dict[str, Any]:
    """One design of a comparison."""
    return {
        "name": one.name,
        "right": {"holds": one.holds, "of": one.of},
        "unexpected": list(one.unexpected),
        "broken": listed(one.broken),
        "needless": listed(one.needless),
        "waits": listed(one.waits),
        "seal": {"sleeps_ns": one.seal_ns, "steps": one.seal_steps, "sleeps_in": list(one.seal_sleeps_in)},
        "drops": listed(one.drops),
        "budget": attrs.asdict(one.budget),
        "price": [{**attrs.asdict(path), "lines": dict(path.lines)} for path in one.price],
        "more": [{**attrs.asdict(path), "lines": dict(path.lines)} for path in one.more],
    }


def listed(found: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Tuples as lists."""
    return {key: list(values) for key, values in found.items()}


def test(value: Test) -> dict[str, str]:
    """What was asked."""
    return {
        "scenario": value.name,
        "strategy": value.strategy.name,
        "release": value.release.name,
        "hash": value.digest,
    }


def violation(judged: Judged, *, all_steps: bool) -> dict[str, Any] | None:
    """The property that is broken, and how to see it again."""
    if not isinstance(judged.verdict, Violated):
        return None
    found = judged.verdict.violation
    shown = judged.execution
    return {
        "property": found.property,
        "detail": judged.detail,
        "schedule": str(found.schedule),
        "steps": len(found.schedule.moves),
        "switches": found.schedule.switches,
        "shortest": found.shortest,
        "replay": judged.replay,
        "diagram": "" if shown is None else diagram(shown, all_steps=all_steps),
        "argument": "" if shown is None else argument(shown),
    }


def replayed(asked: Test, execution: Execution, *, all_steps: bool = False) -> dict[str, Any]:
    """One schedule as it was carried out, step by step."""
    broke = execution.violation
    return {
        "test": test(asked),
        "violation": None
        if broke is None
        else {"property": broke[0], "detail": detail(asked.scenario, *broke, execution.outcomes)},
        "outcomes": threads(execution.outcomes),
        "diagram": diagram(execution, all_steps=all_steps),
        "argument": argument(execution),
        "steps": [step(one) for one in execution.steps],
    }


def step(traced: TracedStep) -> dict[str, Any]:
    """One step of an execution."""
    return {
        "thread": traced.thread,
        "context": traced.context.value,
        "word": traced.word,
        "cell": traced.cell,
        "old": show(traced.old),
        "new": show(traced.new),
        "result": show(traced.result),
        "alternative": traced.alternative,
        "alternatives": traced.alternatives,
        "at": [{"function": frame.function, "file": frame.file, "line": frame.line} for frame in traced.frames],
    }


def threads(outcome: Outcome) -> dict[str, str]:
    """One class of outcomes."""
    return {thread: show(value) for thread, value in outcome}


def simulated(asked: Test, run: Result) -> dict[str, Any]:
    """One timed run."""
    broke = run.violation
    return {
        "test": test(asked),
        "ended": run.ended.name.lower(),
        "end_ns": run.end_ns,
        "steps": run.steps,
        "cpus": run.cpus,
        "seed": run.seed,
        "outcomes": threads(run.outcomes),
        "violation": None if broke is None else {"property": broke[0], "detail": broke[1]},
        "busy_ns": list(run.busy_ns),
        "locks": [
            {
                "lock_class": use.lock_class,
                "acquired": use.acquired,
                "waits": use.waits,
                "wait_ns": use.wait_ns,
                "longest_wait_ns": use.longest_wait_ns,
            }
            for use in run.locks
        ],
        "system_calls": [
            {
                "thread": one.thread,
                "name": one.name,
                "start_ns": one.start_ns,
                "end_ns": one.end_ns,
                "steps": one.steps,
            }
            for one in run.system_calls
        ],
    }


def conformed(asked: Test, seen: ConformanceResult, *, complete: bool) -> dict[str, Any]:
    """What a real kernel did."""
    return {
        "test": test(asked),
        "release": seen.release,
        "runs": seen.runs,
        "seen": seen.seen,
        "possible": seen.possible,
        "agrees": seen.agrees if complete else None,
        "skipped": seen.skipped,
        "model_complete": complete,
        "observed": [{"threads": threads(outcome), "count": count} for outcome, count in seen.observed],
        "impossible": [{"threads": threads(outcome)} for outcome in seen.impossible],
        "torn": [{"threads": threads(outcome)} for outcome in seen.torn],
        "unseen": [{"threads": threads(outcome)} for outcome in seen.unseen],
        "silent": [{"threads": threads(outcome)} for outcome in seen.silent],
        "stuck": list(seen.stuck),
        "seconds": round(seen.seconds, 3),
    }


def conformed_of_many(one: Conformed) -> dict[str, Any]:
    """One scenario of the catalogue on a real kernel; `not_run` says why there is nothing else."""
    if one.test is None or one.result is None:
        return {"scenario": one.name, "not_run": one.refused or one.failed, "failed": one.failed is not None}
    return {"scenario": one.name, **conformed(one.test, one.result, complete=one.complete)}


def programs(result: ProgramsResult) -> dict[str, Any]:
    """What random programs showed."""
    return {
        "linux": result.linux,
        "release": result.release,
        "strategy": result.strategy,
        "seed": result.seed,
        "programs": result.programs,
        "calls": result.calls,
        "agreed": result.agreed,
        "skipped": result.skipped,
        "interrupted": result.interrupted,
        "not_asked": list(result.not_asked),
        "forking": result.forking,
        "linux_seconds": round(result.linux_seconds, 3),
        "forking_seconds": round(result.forking_seconds, 3),
        "model_seconds": round(result.model_seconds, 3),
        "jobs": result.jobs,
        "seconds": round(result.seconds, 3),
        "differences": [
            {
                "program": difference.number,
                "repeats": difference.repeats,
                "scenario": scenario(result, difference),
                "calls": [
                    {
                        "process": call.process,
                        "call": written(call),
                        "linux": answer(linux),
                        "model": answer(model),
                        "agree": linux == model,
                    }
                    for call, linux, model in zip(difference.program, difference.linux, difference.model, strict=True)
                ],
            }
            for difference in result.differences
        ],
    }
