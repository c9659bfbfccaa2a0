"""Verdicts: what a search says, and how far the answer reaches.

`Holds` means that every interleaving was explored, `Violated` that a schedule breaks a property, `Undecided` that a
bound was reached first.  Each carries what was seen on the way; none is ever a bare yes or no.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum

import attrs


class Expected(Enum):
    """What a scenario expects of a strategy."""

    HOLDS = "Holds"
    VIOLATED = "Violated"


HOLDS = Expected.HOLDS
VIOLATED = Expected.VIOLATED
OTHERS = "others"
"""In place of a strategy's name: every design of the catalogue that is not named."""
UNASKED = None
"""In place of a verdict: the scenario is not meaningful for this design, e.g. its setup cannot even run under it."""


@attrs.frozen
class Move:
    """One step of a schedule: which thread, and which alternative it took where there are several."""

    thread: str
    alternative: int = 0


@attrs.frozen
class Schedule:
    """An order of steps.  Written `reader7 sealer4/1 device2`: seven steps, one taking alternative 1, two steps."""

    moves: tuple[Move, ...]

    def __str__(self) -> str:
        runs: list[list[Move]] = []
        for move in self.moves:
            if runs and runs[-1][-1] == move and not move.alternative:
                runs[-1].append(move)
            else:
                runs.append([move])
        return " ".join(
            f"{run[0].thread}1/{run[0].alternative}" if run[0].alternative else f"{run[0].thread}{len(run)}"
            for run in runs
        )

    @property
    def switches(self) -> int:
        """How often the schedule passes from one thread to another."""
        return sum(a.thread != b.thread for a, b in zip(self.moves, self.moves[1:], strict=False))


@attrs.frozen
class Violation:
    """A property that a schedule breaks.  `property` is its name, `detail` says what happened."""

    property: str
    detail: str
    schedule: Schedule
    shortest: bool
    """Whether it was shown that no shorter schedule breaks a property."""


@attrs.frozen
class Coverage:
    """How the answer was reached."""

    states: int
    transitions: int
    how: str
    """`exhaustive`, `bounded (by what)` or `sampled (how many)`."""
    waiting: int = 0
    """States found but not yet expanded when the search ended."""
    depth: int = 0


Outcome = tuple[tuple[str, Hashable], ...]
"""Each thread's name and what it returned, or `WAITING` where it waits for ever."""


class Waiting(Enum):
    """A thread that a silent device keeps waiting for ever."""

    WAITING = "waiting for ever"


WAITING = Waiting.WAITING


@attrs.frozen(order=True)
class Wait:
    """A thread that a silent device keeps inside a system call."""

    call: str
    """`munmap`, `exit`, `add_seals`, ...: its name in `mmsim.syscalls`."""
    function: str
    """The kernel function that waits."""
    field: str
    """The field, or the lock, that it waits for."""


@attrs.frozen(order=True)
class Drop:
    """A count of a page that is given back."""

    field: str
    """`_refcount`, or a count that the design adds."""
    context: str
    """Where the code ran: `task`, `softirq` or `hardirq`."""
    last: bool
    """Whether the count was seen to fall to 0 there."""


@attrs.frozen
class Observed:
    """What a search saw that is neither right nor wrong; see `mmsim.check.observe`."""

    waits: tuple[Wait, ...] = ()
    seal_ns: int | None = 0
    """The longest that one sealing call can sleep; None if it can go on for ever."""
    seal_steps: int | None = 0
    """The most steps one sealing call can take; None if there is no limit."""
    seal_sleeps_in: tuple[str, ...] = ()
    """The kernel functions in which it sleeps."""
    needless: tuple[str, ...] = ()
    """The names of the scenario's `needless` that some outcome shows: somebody was refused though nobody needed it."""
    drops: tuple[Drop, ...] = ()


@attrs.frozen
class Holds:
    """Every interleaving was explored and none breaks a property."""

    outcomes: tuple[Outcome, ...]
    coverage: Coverage
    observed: Observed = Observed()


@attrs.frozen
class Violated:
    """Some interleaving breaks a property."""

    violation: Violation
    outcomes: tuple[Outcome, ...]
    coverage: Coverage
    observed: Observed = Observed()


@attrs.frozen
class Undecided:
    """A bound was reached before the search was complete; `reason` says which."""

    reason: str
    outcomes: tuple[Outcome, ...]
    coverage: Coverage
    observed: Observed = Observed()


Verdict = Holds | Violated | Undecided
