"""Steps: the only objects that ever yield to a driver.

A step is one atomic action on one cell (or on none).  It is a pure function

    (step, old value of the cell) -> every (new value, result) it may have

so no alternative at all means "blocked", one is the ordinary case, and several are a free choice: a timeout that
may fire, an error that may be injected.  Whoever drives a coroutine takes the step it yields, applies it to the
cell's value and sends the result back; what "apply" means (explore all orders, pick one, give it a duration) is the
driver's business alone.

The memory model is sequential consistency: one step at a time, each seen by all CPUs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from enum import Enum, IntEnum
from typing import Any, Generic, TypeVar

R = TypeVar("R")

Alternatives = tuple[tuple[Any, Any], ...]  # every (new value, result); empty means blocked
Effect = Callable[..., Alternatives]  # a module-level function of (old value, *operands)


class Access(IntEnum):
    """How a step uses its cell.  Two steps conflict unless both READ or both ADD (see `conflict`)."""

    NONE = 0
    READ = 1
    ADD = 2  # changes the value by a sum whose result nobody looks at
    WRITE = 3  # may read as well


def conflict(one: Access, other: Access) -> bool:
    """Whether two accesses to the same cell may not be swapped."""
    if Access.NONE in (one, other):
        return False
    return one is not other or one is Access.WRITE


class Context(Enum):
    """Where a thread's code runs; a hardirq may not sleep."""

    TASK = "task"
    SOFTIRQ = "softirq"
    HARDIRQ = "hardirq"


class KernelBug(Exception):
    """The model's BUG_ON(): raised by an effect or by a path, it is a violation and never an internal error."""


class Step(Generic[R]):
    """One atomic action: `word` is the kernel's word for it, `operands` and `effect` say what it does.

    Two runs of a deterministic coroutine yield equal steps; equality is of word, cell and operands.
    """

    __slots__ = (
        "access",
        "acquires",
        "cell",
        "effect",
        "memo",
        "met",
        "operands",
        "plain",
        "releases",
        "sleeps",
        "then",
        "word",
    )

    def __init__(
        self,
        word: str,
        cell: Any,
        access: Access,
        effect: Effect,
        operands: tuple[Hashable, ...] = (),
        *,
        sleeps: bool = False,
        acquires: bool = False,
        releases: bool = False,
    ) -> None:
        self.word = word
        self.cell = cell
        self.access = access
        self.effect = effect
        self.operands = operands
        self.sleeps = sleeps
        self.acquires = acquires
        self.releases = releases
        self.plain = not (sleeps or acquires or releases)
        # What a driver knows of it, for the next time: what it costs, the value it met last and the alternatives then.
        self.memo: Any = None
        self.met: object = Step
        self.then: Alternatives = ()

    def alternatives(self, old: object) -> Alternatives:
        """Every (new value, result) that this step may have on a cell holding `old`; () if it must wait."""
        return self.effect(old, *self.operands)

    def __await__(self) -> Generator[Step[R], Any, R]:
        result: R = yield self
        return result

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (self.word, self.effect, self.operands) == (other.word, other.effect, other.operands) and (
            self.cell is other.cell
        )

    def __hash__(self) -> int:
        return hash((self.word, id(self.cell), self.operands))

    def __repr__(self) -> str:
        operands = ", ".join(map(repr, self.operands))
        return f"{self.word}({', '.join(filter(None, (str(self.cell or ''), operands)))})"


def _numbered(old: object, count: int) -> Alternatives:
    return tuple((old, number) for number in range(count))


def _nothing(old: object) -> Alternatives:
    return ((old, None),)


def choose(count: int) -> Step[int]:
    """A free choice among 0 .. count-1: an error that may be injected, a branch taken by hardware."""
    return Step("choose", None, Access.NONE, _numbered, (count,))


def sleep(duration_ns: int) -> Step[None]:
    """Sleep for `duration_ns` nanoseconds.  Without a clock a sleep may end at any moment: it only lets others run."""
    return Step("sleep", None, Access.NONE, _slept, (duration_ns,), sleeps=True)


def _slept(old: object, _duration_ns: int) -> Alternatives:
    return ((old, None),)


def cond_resched() -> Step[None]:
    """A point at which the scheduler may run somebody else."""
    return Step("cond_resched", None, Access.NONE, _nothing, sleeps=True)
