"""Symmetry: N copies of a process are interchangeable, so one state of each permutation is enough.

A permutation of the copies renames everything: the copies' threads change places, so do the cells whose names begin
with a copy's name, and every value is rewritten with the handles in it renamed.  Nodes are renamed by their history:
the twin of a node is where the twin thread gets to with the renamed results.

Nothing is taken on trust: whenever a node is renamed, the twin's pending step must be the renamed step.  Where it is
not (a copy that looks at its own index), the machine is not symmetric and every state stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import chain, permutations, product
from typing import Any, cast

import attrs

from mmsim.cells import Cell, Named
from mmsim.engine.tables import Outgrown, Place, Places, State, Tables
from mmsim.steps import Step

Renaming = tuple[tuple[str, str], ...]
"""(old name, new name) of every copy that gets another name."""


class NotSymmetricError(Exception):
    """Two copies behave differently."""


class _Told(dict[int, int]):
    """A number and what it is told as, asked of `tell` the first time."""

    __slots__ = ("tell",)

    def __init__(self, tell: Callable[[int], int]) -> None:
        super().__init__()
        self.tell = tell

    def __missing__(self, number: int) -> int:
        told = self[number] = self.tell(number)
        return told


class Symmetry:
    """Maps a state to the representative of its class, as long as the copies have not turned out to differ."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.groups = tables.machine.copies
        if not self.groups:
            tables.symmetric = False
        self._mirroring = False
        self._nodes: dict[tuple[Renaming, int, int], int] = {}
        self._values: dict[tuple[Renaming, Place, int], int] = {}
        self._targets: dict[tuple[Renaming, Place], Place] = {}
        self._threads = {thread.name: number for number, thread in enumerate(tables.machine.threads)}
        self._plans: dict[str, tuple[int, list[tuple[Place, _Told]]]] = {}
        self._moves: dict[Renaming, tuple[int, list[tuple[Place, Place, _Told]]]] = {}
        self._token = re.compile("|".join(re.escape(name) for group in self.groups for name in group) or r"(?!)")

    def canonical(self, places: Places) -> State:
        """The representative of the state's class."""
        return self.representative(places)[0] if self.tables.symmetric else bytes(places)

    def representative(self, places: Places) -> tuple[State, list[int]]:
        """The representative, and the thread that each thread is there."""
        twins = list(range(self.tables.threads))
        if self.tables.symmetric:
            try:
                for group in self.groups:
                    renaming = self._sorting(group, places)
                    if renaming:
                        places = self.renamed(renaming, places)
                        names = [thread.name for thread in self.tables.machine.threads]
                        twins = [self._threads[self._name(renaming, names[twin])] for twin in twins]
            except NotSymmetricError:
                self.tables.symmetric = False
                raise Outgrown from None  # begin again: what was stored so far took the copies for alike
        return bytes(places), twins

    def _sorting(self, group: tuple[str, ...], places: Places) -> Renaming:
        """The renaming that puts the copies in order."""
        keys = [(self._key(group[0], name, places), number) for number, name in enumerate(group)]
        order = [number for _, number in sorted(keys)]
        return tuple((group[old], group[new]) for new, old in enumerate(order) if old != new)

    def _key(self, first: str, name: str, places: Places) -> tuple[int, ...]:
        """What copy `name` looks like, told as if it were the first."""
        plan = self._plans.get(name)
        if plan is None or plan[0] != len(self.tables.cells):
            plan = self._plan(first, name)
        return tuple([told[places[place]] for place, told in plan[1]])

    def _plan(self, first: str, name: str) -> tuple[int, list[tuple[Place, _Told]]]:
        """The places that belong to a copy, in the order of the first copy's, with what their numbers are there."""
        renaming: Renaming = () if name == first else ((name, first), (first, name))
        threads = [
            (thread, _Told(partial(self.node, renaming, thread)))
            for thread_name, thread in self._threads.items()
            if name in thread_name
        ]
        own = [self.tables.place(cell) for cell in list(self.tables.cells) if name in cell.name]
        own.sort(key=partial(self._target, renaming))
        count = len(self.tables.cells)
        plan = (count, threads + [(place, _Told(partial(self.value, renaming, place))) for place in own])
        self._plans[name] = plan
        return plan

    def renamed(self, renaming: Renaming, places: Places) -> Places:
        """The same state after a permutation of the copies."""
        known = self._moves.get(renaming)
        if known is None or known[0] != len(self.tables.cells):
            known = self._moves[renaming] = self._all_moves(renaming)
        result = places[:]
        for place, target, told in known[1]:
            result[target] = told[places[place]]
        return result

    def _all_moves(self, renaming: Renaming) -> tuple[int, list[tuple[Place, Place, _Told]]]:
        """(place, where it goes, what its numbers are there) of every thread and every cell, and how many cells."""
        cells = list(self.tables.cells)
        moves = [
            (
                thread,
                self._threads[self._name(renaming, one.name)],
                _Told(partial(self.node, renaming, thread)),
            )
            for thread, one in enumerate(self.tables.machine.threads)
        ]
        for cell in cells:
            place = self.tables.place(cell)
            moves.append((place, self._target(renaming, place), _Told(partial(self.value, renaming, place))))
        return len(cells), moves

    # ---- renaming names, values, nodes

    def _twin(self, name: str) -> Named | None:
        """The thing of that name; one copy may have to learn first what another has, to meet it."""
        world = self.tables.machine.world
        twin = world.named(name)
        if twin is None and not self._mirroring:
            self._mirroring = True
            self.mirror()
            self._mirroring = False
            twin = world.named(name)
        return twin

    def _name(self, renaming: Renaming, name: str) -> str:
        new = dict(renaming)
        return self._token.sub(lambda match: new.get(match[0], match[0]), name)

    def _target(self, renaming: Renaming, place: Place) -> Place:
        if not renaming:
            return place
        known = self._targets.get((renaming, place))
        if known is None:
            cell = self.tables.cells[place - self.tables.threads]
            name = self._name(renaming, cell.name)
            twin = self._twin(name)
            if twin is None and type(cell) is Cell:  # only properties have looked at it, no step
                twin = self.tables.machine.world.cell(name, self.rename(renaming, cell.initial))
            if twin is None:
                raise NotSymmetricError
            known = self.tables.place(cast("Cell[Any]", twin))
            self._targets[renaming, place] = known
        return known

    def node(self, renaming: Renaming, thread: int, number: int) -> int:
        """The number that the twin of a node has in the automaton of the twin thread."""
        if not renaming:
            return number
        known = self._nodes.get((renaming, thread, number))
        if known is not None:
            return known
        automata = self.tables.automata
        twin = self._threads[self._name(renaming, automata[thread].thread.name)]
        node = automata[thread].nodes[number]
        known = 0
        for result in node.history:
            known = automata[twin].follow(known, self.rename(renaming, result))
        self.tables.add_rows(twin)
        other = automata[twin].nodes[known]
        if node.ended != other.ended or not self._alike(renaming, node.step, other.step):
            raise NotSymmetricError
        if self.rename(renaming, node.outcome) != other.outcome:
            raise NotSymmetricError
        self._nodes[renaming, thread, number] = known
        return known

    def _alike(self, renaming: Renaming, step: Step[Any] | None, other: Step[Any] | None) -> bool:
        if step is None or other is None:
            return step is other
        cell = None if step.cell is None else self.rename(renaming, step.cell)
        operands = self.rename(renaming, step.operands)
        return (step.word, cell, operands, step.effect) == (other.word, other.cell, other.operands, other.effect)

    def value(self, renaming: Renaming, place: Place, number: int) -> int:
        """The number, in the twin's place, of a value renamed."""
        known = self._values.get((renaming, place, number))
        if known is None:
            value = self.rename(renaming, self.tables.values[place][number])
            known = self.tables.number(self._target(renaming, place), value)
            if number == 0 and known != 0:
                raise NotSymmetricError  # they do not even start alike
            self._values[renaming, place, number] = known
        return known

    def rename(self, renaming: Renaming, value: Any) -> Any:
        """A value with every handle and cell in it renamed."""
        if isinstance(value, Named):
            name = self._name(renaming, value.name)
            if name == value.name:
                return value
            twin = self._twin(name)
            if twin is None:
                raise NotSymmetricError
            return twin
        if isinstance(value, tuple | frozenset):
            return type(value)([self.rename(renaming, item) for item in value])
        if attrs.has(type(value)):
            changed = {
                field.name: self.rename(renaming, getattr(value, field.name)) for field in attrs.fields(type(value))
            }
            return attrs.evolve(value, **changed)
        return value

    def mirror(self) -> None:
        """Teach every copy what any of them has learnt: the futures of one must not be smaller than its twin's."""
        if not self.tables.symmetric:
            return
        try:
            for group in self.groups:
                for old, new in permutations(group, 2):
                    self._mirror_onto(((old, new), (new, old)), old)
        except NotSymmetricError:
            self.tables.symmetric = False
            raise Outgrown from None

    def _mirror_onto(self, renaming: Renaming, old: str) -> None:
        for thread, automaton in enumerate(self.tables.automata):
            if old not in automaton.thread.name:
                continue
            twin = self._threads[self._name(renaming, automaton.thread.name)]
            for node in list(automaton.nodes):
                at = self.node(renaming, thread, node.number)
                for key in list(node.next):
                    self.tables.automata[twin].follow(at, self.rename(renaming, key[1]))
            self.tables.add_rows(twin)

    # ---- outcomes

    def renamings(self) -> list[Renaming]:
        """Every permutation of every group of copies."""
        if not self.tables.symmetric:
            return [()]
        each = [[tuple(zip(group, order, strict=True)) for order in permutations(group)] for group in self.groups]
        return [tuple(chain.from_iterable(together)) for together in product(*each)]

    def all_renamed(self, outcome: tuple[tuple[str, Any], ...]) -> set[tuple[tuple[str, Any], ...]]:
        """An outcome and its twins, each in the order of the machine's threads."""
        twins = set()
        for renaming in self.renamings():
            told = {self._name(renaming, name): self.rename(renaming, value) for name, value in outcome}
            twins.add(tuple((name, told[name]) for name, _ in outcome))
        return twins
