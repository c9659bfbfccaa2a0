"""One execution at a time over the learnt tables: what replay and the random walks share."""

from __future__ import annotations

from typing import Any

from mmsim.engine.progress import Livelock, trapped
from mmsim.engine.search import Explored, Resting, Witness, bugs_at_start, rest
from mmsim.engine.tables import Fault, Outgrown, Places, Special, Tables
from mmsim.steps import KernelBug
from mmsim.trace import Execution, TracedStep
from mmsim.verdict import WAITING, Move, Outcome

TRAPPED_STATES = 100_000
"""How many states a run may look at ahead, to tell whether it can still come to rest."""


class Run:
    """An execution under way.  `fault` is set once a property is broken; nothing moves after that."""

    def __init__(self, tables: Tables, resting: Resting | None = None) -> None:
        self.tables = tables
        self.resting = resting
        self.moves: list[Move] = []
        self.steps: list[TracedStep] = []
        self.fault: Fault | None = None
        self.restart()

    def restart(self) -> None:
        """Go back to the initial state."""
        self.places: Places = self.tables.unpack(self.tables.initial())
        self.moves.clear()
        self.steps.clear()
        self.fault = next((broken.fault for broken in bugs_at_start(self.tables)), None)

    def able(self) -> list[int]:
        """The threads that can move now."""
        if self.fault is not None:
            return []
        return [thread for thread in range(self.tables.threads) if self.alternatives(thread)]

    def alternatives(self, thread: int) -> int:
        """In how many ways `thread` can move now; 0 if it is blocked or has ended."""
        while True:
            try:
                place, row = self.tables.rows[thread][self.places[thread]]
                move = row[self.places[place]]
            except Outgrown:
                self._widen()
                continue
            if move is None:
                return 0
            return len(move.alternatives) if move.__class__ is Special else 1

    def _widen(self) -> None:
        """The same state on a wider layout."""
        self.tables.lay_out()
        wider = self.tables.unpack(self.tables.initial())
        for place, number in enumerate(self.places):
            wider[place] = number
        self.places = wider

    def step(self, thread: int, alternative: int = 0, *, trace: bool = False) -> None:
        """Let `thread` take one step.  Raises IndexError if it has no such alternative."""
        count = self.alternatives(thread)
        if alternative >= count:
            raise IndexError(alternative)
        while True:
            before = self.places[:]
            try:
                self._step(thread, alternative, count, before, trace=trace)
            except Outgrown:
                self.places = before
                self._widen()
            else:
                return

    def _step(self, thread: int, alternative: int, count: int, before: Places, *, trace: bool) -> None:
        tables, places = self.tables, self.places
        number = places[thread]
        place, row = tables.rows[thread][number]
        move = row[places[place]]
        fault: Fault | None = None
        if move.__class__ is Special:
            fault = move.bugs[alternative]
            places[place], after = move.alternatives[alternative]
            places[thread] = after
            if fault is None and move.watched:
                fault = tables.verdict(move, thread, number, before, places)
        else:
            places[place], after = move
            places[thread] = after
        if trace:
            self.steps.append(self._traced(thread, number, before, alternative, count))
        self.moves.append(Move(tables.machine.threads[thread].name, alternative))
        self.fault = fault

    def end(self) -> Fault | None:
        """Judge the state as it is now, if nothing can move any more."""
        while self.fault is None and not self.able():
            found = Explored()
            try:
                rest(self.tables, found, self.places, self.resting, Witness(None))
            except Outgrown:
                self._widen()
                continue
            if found.broken:
                self.fault = found.broken[0].fault
            break
        return self.fault

    def livelock(self) -> Livelock | None:
        """What the run cannot get out of, if it has come to a livelock; None too if telling takes too many states."""
        while self.fault is None:
            try:
                return trapped(self.tables, self.places, TRAPPED_STATES)
            except Outgrown:
                self._widen()
        return None

    def quiescent(self) -> bool:
        """Whether only threads that may stay silent could still move."""
        return not any(not self.tables.machine.threads[thread].silent for thread in self.able())

    def outcome(self) -> Outcome:
        """What each thread that is no device returned, or WAITING."""
        return outcome(self.tables, tuple(self.places[: self.tables.threads]))

    def execution(self, fault: Fault | None, turn: int = 0) -> Execution:
        """What was traced so far."""
        return Execution(tuple(self.steps), self.outcome(), fault, turn)

    def _traced(self, thread: int, number: int, before: Places, alternative: int, count: int) -> TracedStep:
        tables = self.tables
        node = tables.node(thread, number)
        step = node.step
        assert step is not None
        old: Any = None
        new: Any = None
        if step.cell is not None:
            place = tables.place(step.cell)
            old, new = tables.values[place][before[place]], tables.values[place][self.places[place]]
        result: Any = None
        outcomes = () if self.fault else _alternatives(step, old)
        if alternative < len(outcomes):
            result = outcomes[alternative][1]
        machine_thread = tables.machine.threads[thread]
        return TracedStep(
            machine_thread.name,
            machine_thread.context,
            node.frames,
            step.word,
            str(step.cell or ""),
            old,
            new,
            result,
            alternative,
            count,
        )


def _alternatives(step: Any, old: Any) -> tuple[tuple[Any, Any], ...]:
    try:
        found: tuple[tuple[Any, Any], ...] = step.alternatives(old)
    except KernelBug:
        return ()
    return found


def outcome(tables: Tables, nodes: tuple[int, ...]) -> Outcome:
    """The outcome that these nodes of the threads mean."""
    told = []
    for thread, machine_thread in enumerate(tables.machine.threads):
        if not machine_thread.silent:
            node = tables.node(thread, nodes[thread])
            told.append((machine_thread.name, node.outcome if node.ended else WAITING))
    return tuple(told)
