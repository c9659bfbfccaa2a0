"""What a comparison says of one design: how many tests hold, what it refuses, who waits, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.check.price import Difference, Priced, differences, price
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mmsim.kernel.strategy import Strategy

PRICED_ON: Final = "v3.17"
"""Where nobody says which release."""
ASKED_FOR: Final = frozenset({"wait_for"})
"""Calls that are there to wait."""
LINUX_WAITS: Final = ("exit", "do_exit")
"""exit_aio() of every Linux waits for the I/O of the process, whatever the design."""
SEALING: Final = "add_seals"
REFCOUNT: Final = "_refcount"
TOLD: Final = ("gup_fast", "munmap", "seal 8 pages")
"""The paths whose price is told of every design; `mmsim explain` has them all."""
IRQ: Final = ("softirq", "hardirq")


@attrs.frozen
class Design:
    """One row of the comparison."""

    name: str
    holds: int
    of: int
    violated: tuple[str, ...]
    """The scenarios whose tests are violated."""
    unexpected: tuple[str, ...]
    broken: Mapping[str, tuple[str, ...]]
    """By property: the scenarios in which it is broken."""
    needless: Mapping[str, tuple[str, ...]]
    waits: Mapping[str, tuple[str, ...]]
    """By system call: the kernel functions in which somebody is left waiting for a silent device."""
    seal_ns: int | None
    seal_steps: int | None
    seal_sleeps_in: tuple[str, ...]
    drops: Mapping[str, tuple[str, ...]]
    """By count of a page: the contexts in which the last was seen to be given back."""
    budget: Budget = attrs.field(factory=Budget)
    price: tuple[Priced, ...] = ()
    more: tuple[Difference, ...] = ()

    @property
    def seal(self) -> str:
        """How long a seal can be held off: `-`, `148 ms` or `for ever`."""
        if self.seal_ns is None or SEALING in self.waits:
            return "for ever"
        return f"{self.seal_ns / 1e6:g} ms" if self.seal_ns else "-"

    @property
    def irq(self) -> str:
        """Whose last count is dropped in an interrupt: `page`, the design's `own`, `both`, or `-`."""
        fields = {field for field, contexts in self.drops.items() if set(contexts) & set(IRQ)}
        own = bool(fields - {REFCOUNT})
        return ("both" if own else "page") if REFCOUNT in fields else "own" if own else "-"

    def waits_in(self, call: str) -> str:
        """Whether a call is left waiting: `-`, `aio` where only Linux's own exit_aio() does it, or `yes`."""
        functions = self.waits.get(call, ())
        if not functions:
            return "-"
        return "aio" if all((call, function) == LINUX_WAITS for function in functions) else "yes"

    def differs(self, path: str) -> str:
        """`+2/+1`: atomics and cache lines more than `linux` on a path."""
        found = next((one for one in self.more if one.path == path), None)
        if found is None:
            return "?"
        return f"{found.atomics:+}/{found.more_lines:+}" if found.atomics or found.more_lines else "-"


def designs(
    results: Sequence[Mapping[str, Any]], known: Mapping[str, Strategy], priced_on: str = PRICED_ON
) -> tuple[Design, ...]:
    """A row for each strategy, in the order in which they were judged; tests of past releases are about no design."""
    names = dict.fromkeys(one["test"]["strategy"] for one in results)
    return tuple(
        design(
            [one for one in results if one["test"]["strategy"] == name and not one["history"]],
            name,
            known.get(name),
            priced_on,
        )
        for name in names
    )


def design(
    results: Sequence[Mapping[str, Any]], name: str, strategy: Strategy | None, priced_on: str = PRICED_ON
) -> Design:
    """One row from the results of all its tests."""
    release = release_named(priced_on)
    violated = [one for one in results if one["verdict"] == "Violated"]
    seen = [one["observed"] for one in results]
    sleeps = [one["seal"]["sleeps_ns"] for one in seen]
    steps = [one["seal"]["steps"] for one in seen]
    return Design(
        name,
        sum(one["verdict"] == "Holds" for one in results),
        len(results),
        tuple(one["test"]["scenario"] for one in violated),
        tuple(one["test"]["scenario"] for one in results if not one["as_expected"] and one["verdict"] != "Undecided"),
        grouped((one["violation"]["property"], one["test"]["scenario"]) for one in violated),
        grouped((one["test"]["scenario"], text) for one in results for text in one["observed"]["needless"]),
        grouped(
            (wait["call"], wait["function"]) for one in seen for wait in one["waits"] if wait["call"] not in ASKED_FOR
        ),
        None if None in sleeps else max(sleeps, default=0),
        None if None in steps else max(steps, default=0),
        tuple(sorted({function for one in seen for function in one["seal"]["sleeps_in"]})),
        grouped((drop["field"], drop["context"]) for one in seen for drop in one["drops"] if drop["last"]),
        *(() if strategy is None else (strategy.budget, price(strategy, release), differences(strategy, release))),
    )


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """For each first, its seconds, each once and sorted."""
    found: dict[str, set[str]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(value)
    return {key: tuple(sorted(found[key])) for key in sorted(found)}


def remarks(one: Design) -> list[str]:
    """What the columns of a row leave out, as sentences without a full stop."""
    told = []
    for broken, places in one.broken.items():
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        told.append(f"`{broken}` is broken in {places[0]}{more}")
    if one.needless:
        told.append(f"refuses needlessly in {', '.join(one.needless)}")
    for call, functions in one.waits.items():
        others = [function for function in functions if (call, function) != LINUX_WAITS]
        if others:
            told.append(f"{call} waits for a silent device in {', '.join(f'{each}()' for each in others)}")
    if one.seal_sleeps_in:
        where = ", ".join(f"{each}()" for each in one.seal_sleeps_in)
        steps = "any number of" if one.seal_steps is None else f"at most {one.seal_steps}"
        told.append(f"a seal sleeps in {where} and takes {steps} steps")
    if one.budget.callers_to_convert != "none":
        told.append(f"to convert: {one.budget.callers_to_convert}")
    if costs := "; ".join(str(path) for path in one.more if path.path in TOLD and str(path)):
        told.append(costs)
    return told
