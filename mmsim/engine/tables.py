"""States as flat arrays, moves as look-ups in learnt tables.

A state is one array of small numbers: first a node number for each thread, then a value number for each cell.  Value
0 of a cell is the one it starts with and node 0 of a thread is its start, so the initial state is all zeros, and a
cell met late takes one of the spare places without disturbing a state already stored.  `typecode` says how wide a
place is; when the numbers outgrow it, or the spare places run out, `Outgrown` asks the search to begin again on a
wider layout.  Everything learnt stays.

`rows[thread][node]` is (place of the cell, row), and `row[value]` is the move there:

    None                       the step is blocked
    (new value, next node)     the ordinary case, so that the inner loop is a handful of look-ups
    Special                    several alternatives, a step that a property watches, or a bug
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, MutableSequence
from functools import partial
from typing import Any, TypeVar

import attrs

from mmsim.cells import Cell
from mmsim.engine.automaton import Automaton, Node
from mmsim.errors import UserError
from mmsim.steps import KernelBug, Step
from mmsim.threads import Machine

T = TypeVar("T")

SPARE_PLACES = 24
FEW_SPARE_PLACES = 4
"""Places for cells not met yet: many before anything is known, few after walks have met nearly all there are."""
_CAPACITY = {"B": 1 << 8, "H": 1 << 16, "I": 1 << 32}

Place = int
State = bytes
Places = MutableSequence[int]
"""A state unpacked: a bytearray where a byte is enough, for nothing is written faster, else an array."""
Path = tuple[tuple[int, int], ...]
"""(thread, alternative), one for each step."""
Fault = tuple[str, str]
"""The name of a property, and what broke it."""
Judge = Callable[["View", "View", Step[Any]], Fault | None]
"""(before, after, step) -> (property, detail) if the step breaks an always-on property."""


class Outgrown(Exception):
    """The layout is too narrow or too short; begin again."""


class View:
    """The cells' values in one state, for properties.  Notes which places were looked at."""

    __slots__ = ("_places", "_tables", "looked")

    def __init__(self, tables: Tables, places: Places, looked: set[Place]) -> None:
        self._tables = tables
        self._places = places
        self.looked = looked

    def __getitem__(self, cell: Cell[T]) -> T:
        place = self._tables.place_of.get(cell)
        if place is None:
            place = self._tables.new_place(cell)
        self.looked.add(place)
        value: T = self._tables.values[place][self._places[place]]
        return value


@attrs.define(slots=True)
class Special:
    """A move that is not ordinary: its alternatives, the bug each one runs into, and whether properties watch it."""

    alternatives: list[tuple[int, int]]
    bugs: list[Fault | None]
    watched: bool = False
    looked: tuple[Place, ...] = ()
    judged: dict[tuple[int, ...], Fault | None] = attrs.field(factory=dict)


class Row(dict[int, Any]):
    """The moves of one thread at one node, by value of the cell; learns what it is asked for the first time.

    `known` has the same moves once they are learnt, and UNKNOWN before, as a plain list: the inner loop of the
    unreduced search, in which every look-up counts, asks it first.
    """

    __slots__ = ("known", "node", "tables", "thread")

    def __init__(self, tables: Tables, thread: int, node: int) -> None:
        super().__init__()
        self.tables = tables
        self.thread = thread
        self.node = node
        # in a wide layout a list of all values would be too long
        self.known: Any = [UNKNOWN] * tables.capacity if tables.typecode == "B" else self

    def __missing__(self, value: int) -> Any:
        move = self[value] = self.tables.learn(self.thread, self.node, value)
        if self.known is not self:
            self.known[value] = move
        return move


UNKNOWN: Any = Special([], [])
"""In place of a move not learnt yet."""

Rows = list[tuple[Place, Row]]
"""The rows of one thread, by node."""


class Tables:
    """All that is known of a machine, laid out for searching."""

    def __init__(
        self,
        machine: Machine,
        *,
        judge: Judge | None = None,
        watched: Callable[[Cell[Any]], bool] = lambda _cell: False,
        merge: bool = True,
    ) -> None:
        self.machine = machine
        self.automata = [Automaton(thread, merge=merge) for thread in machine.threads]
        self.judge = judge
        self.watched = watched
        self.cells: list[Cell[Any]] = []  # cells in the order of their places
        self.place_of: dict[Cell[Any], Place] = {}
        self.values: dict[Place, list[Any]] = {}
        self._numbers: dict[Place, dict[Hashable, int]] = {}
        self.footprint: dict[tuple[int, int], set[Place]] = {}  # (thread, node) -> places its property looks at
        self._watching = 0
        self.rehearsed = False  # once random walks have met most cells
        self.symmetric = True  # until two copies turn out to differ
        self.lay_out()

    # ---- layout

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self.automata)

    def lay_out(self) -> None:
        """Forget all rows; make room for all that is known so far, and some spare places."""
        most = max([len(automaton.nodes) for automaton in self.automata] + [len(v) for v in self.values.values()])
        self.typecode = next(code for code, capacity in _CAPACITY.items() if most < capacity)
        self.capacity = _CAPACITY[self.typecode]
        spare = FEW_SPARE_PLACES if self.rehearsed else SPARE_PLACES
        self.length = self.threads + len(self.cells) + spare
        self.rows: list[Rows] = [[] for _ in range(self.threads)]
        for thread in range(self.threads):
            self.add_rows(thread)

    def add_rows(self, thread: int) -> None:
        """A row for each node learnt since.  Raises Outgrown if there are too many."""
        if len(self.automata[thread].nodes) > self.capacity:
            raise Outgrown
        rows = self.rows[thread]
        for number in range(len(rows), len(self.automata[thread].nodes)):
            step = self.automata[thread].nodes[number].step
            # a step on no cell reads a place that cannot matter to it: the thread's own
            place = thread if step is None or step.cell is None else self.place(step.cell)
            rows.append((place, Row(self, thread, number)))

    @property
    def news(self) -> int:
        """Grows whenever something is learnt that a reduction could depend on."""
        return sum(automaton.edges for automaton in self.automata) + self._watching

    def initial(self) -> State:
        """The state in which every thread starts."""
        return bytes(self.length * array(self.typecode).itemsize)

    @property
    def unpack(self) -> Callable[[State], Places]:
        """What makes numbers of a state: nodes of the threads, then values of the cells.  `bytes` packs them again."""
        return bytearray if self.typecode == "B" else partial(array, self.typecode)

    def view(self, places: Places, looked: set[Place] | None = None) -> View:
        """The values of the cells in a state."""
        return View(self, places, set() if looked is None else looked)

    def place(self, cell: Cell[Any]) -> Place:
        """Where a cell's value number stands."""
        place = self.place_of.get(cell)
        return self.new_place(cell) if place is None else place

    def new_place(self, cell: Cell[Any]) -> Place:
        """Give a cell met for the first time the next place.  Raises Outgrown if there is none left."""
        place = self.threads + len(self.cells)
        self.cells.append(cell)
        self.place_of[cell] = place
        first = self.machine.initial.get(cell, cell.initial)
        self.values[place] = [first]
        self._numbers[place] = {(type(first), first): 0}
        if place >= self.length:
            raise Outgrown
        return place

    def number(self, place: Place, value: Hashable) -> int:
        """The number of a value of the cell at `place`."""
        numbers = self._numbers[place]
        key = (type(value), value)  # False is not 0 to whoever prints it
        known = numbers.get(key)
        if known is None:
            known = numbers[key] = len(numbers)
            self.values[place].append(value)
            if known >= self.capacity:
                raise Outgrown
        return known

    # ---- moves

    def node(self, thread: int, number: int) -> Node:
        """A node of a thread."""
        return self.automata[thread].nodes[number]

    def learn(self, thread: int, number: int, value: int) -> Any:
        """The move of `thread` at node `number` when its step's cell holds value number `value`."""
        automaton = self.automata[thread]
        node = automaton.nodes[number]
        step = node.step
        if step is None or node.bug is not None:
            return None
        place = None if step.cell is None else self.place(step.cell)
        # without a cell the place read is the thread's own, which the move overwrites: any value will do
        old = None if place is None else self.values[place][value]
        moves = []
        try:
            for new, result in step.alternatives(old):
                hash(result)
                after = number if place is None else self.number(place, new)
                moves.append((after, automaton.follow(number, result)))
        except KernelBug as bug:
            return Special([(value, number)], [("no kernel bug", f"{step.word} {step.cell}: {bug}")])
        except (UserError, Outgrown):
            raise
        except Exception as error:
            what = f"{step.word} on {step.cell}" if step.cell else step.word
            msg = f"{what} in thread {automaton.thread.name}, awaited at {automaton.line(node)}, fails: {error}"
            raise UserError(msg) from error
        self.add_rows(thread)
        if not moves:
            return None
        bugs = [automaton.nodes[after].bug for _, after in moves]
        watched = place is not None and any(new != value for new, _ in moves) and self.watched(step.cell)
        if len(moves) == 1 and not watched and bugs == [None]:
            return moves[0]
        return Special(moves, bugs, watched)

    def verdict(self, special: Special, thread: int, number: int, before: Places, after: Places) -> Fault | None:
        """What the always-on properties say of a watched move from `before` to `after`.  Remembers the answer."""
        key = tuple([before[place] for place in special.looked] + [after[place] for place in special.looked])
        if key in special.judged and special.looked:
            return special.judged[key]
        assert self.judge is not None
        looked: set[Place] = set()
        step = self.node(thread, number).step
        assert step is not None
        answer = self.judge(self.view(before, looked), self.view(after, looked), step)
        seen = self.footprint.setdefault((thread, number), set())
        if not looked <= seen:
            seen |= looked
            self._watching += 1
        if not looked <= set(special.looked):
            special.looked = tuple(sorted(looked | set(special.looked)))
            special.judged = {}
        key = tuple([before[place] for place in special.looked] + [after[place] for place in special.looked])
        special.judged[key] = answer
        return answer

    def following(self, thread: int, places: Places) -> list[tuple[int, int, int, Special | None]]:
        """Every move of `thread` in a state, as (place, new value, next node, Special or None); [] if blocked."""
        place, row = self.rows[thread][places[thread]]
        move = row[places[place]]
        if move is None:
            return []
        if move.__class__ is Special:
            return [(place, new, after, move) for new, after in move.alternatives]
        return [(place, move[0], move[1], None)]
