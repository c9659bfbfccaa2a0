"""Toy machines for the engine's tests, and random ones.

A program is plain data: threads of nested tuples, which `block` interprets as a kernel path would be written, so that a
failing example can be read and pasted.  What a thread returns is everything it has observed, in order.

    ("load", c)  ("store", c, v)  ("exchange", c, v)  ("cmpxchg", c, old, new)  ("copy", c)  stores the last observation
    ("add", c, n)  ("inc", c)  ("dec", c)  ("add_return", c, n)  ("inc_not_zero", c)  ("inc_unless_negative", c)
    ("get_reference", c)  ("dec_and_test", c)  both may be a kernel bug
    ("wait", c, v)  until the cell is at least v      ("wait_timeout", c, v)      ("choose", n)  ("resched",)
    ("lock", l, body)  ("read", l, body)  ("downgrade", l, body, body)
    ("if", c, v, body, body)  ("branch", body, body)  on the last observation     ("loop", n, body)
    ("retry", c, v, body)  again and again until the cell holds v       ("ever", body)  for ever
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import strategies as st

from mmsim.cells import Cell, RwSem, World
from mmsim.engine.run import outcome
from mmsim.engine.search import Explored
from mmsim.engine.tables import Tables
from mmsim.steps import choose, cond_resched
from mmsim.threads import Machine, Thread

Body = tuple[Any, ...]


@attrs.frozen
class Memory:
    """What a thread of a program can name."""

    cells: tuple[Cell[int], ...]
    locks: tuple[RwSem, ...]


@attrs.frozen
class Program:
    """A machine as data.  `judges` and `resting` are properties, see `judge_of` and `resting_of`."""

    threads: tuple[Body, ...]
    cells: tuple[int, ...] = (0, 0, 0)
    locks: int = 2
    silent: tuple[int, ...] = ()
    judges: tuple[tuple[Any, ...], ...] = ()
    resting: tuple[int, int, int] | None = None
    copies: int = 0
    """The first thread stands for so many alike, each with a private cell in place of the last one."""


def at_least(value: int, least: int) -> bool:
    return value >= least


async def block(body: Body, m: Memory, seen: tuple[int, ...] = ()) -> tuple[int, ...]:
    """One thread, or a part of it; what it has observed."""
    for op in body:
        seen = await one(op, m, seen)
    return seen


async def one(op: tuple[Any, ...], m: Memory, seen: tuple[int, ...]) -> tuple[int, ...]:
    last = seen[-1] if seen else 0
    match op:
        case ("load", c):
            return (*seen, await m.cells[c].load())
        case ("store", c, v):
            await m.cells[c].store(v)
        case ("exchange", c, v):
            return (*seen, await m.cells[c].exchange(v))
        case ("cmpxchg", c, old, new):
            return (*seen, int(await m.cells[c].cmpxchg(old, new)))
        case ("copy", c):
            await m.cells[c].store(last)
        case ("add", c, n):
            await m.cells[c].add(n)
        case ("inc", c):
            await m.cells[c].inc()
        case ("dec", c):
            await m.cells[c].dec()
        case ("add_return", c, n):
            return (*seen, await m.cells[c].add_return(n))
        case ("inc_not_zero", c):
            return (*seen, int(await m.cells[c].inc_not_zero()))
        case ("inc_unless_negative", c):
            return (*seen, int(await m.cells[c].inc_unless_negative()))
        case ("get_reference", c):
            await m.cells[c].get_reference()
        case ("dec_and_test", c):
            return (*seen, int(await m.cells[c].dec_and_test()))
        case ("wait", c, v):
            return (*seen, await m.cells[c].wait_until(at_least, v))
        case ("wait_timeout", c, v):
            return (*seen, int(await m.cells[c].wait_until_timeout(at_least, v)))
        case ("choose", n):
            return (*seen, await choose(n))
        case ("resched",):
            await cond_resched()
        case ("lock", lock, body):
            async with m.locks[lock]:
                return await block(body, m, seen)
        case ("read", lock, body):
            async with m.locks[lock].read():
                return await block(body, m, seen)
        case ("downgrade", lock, first, second):
            sem = m.locks[lock]
            await sem.acquire()
            seen = await block(first, m, seen)
            await sem.downgrade()
            seen = await block(second, m, seen)
            await sem.read().__aexit__(None, None, None)
        case ("if", c, v, then, otherwise):
            return await block(then if await m.cells[c].load() == v else otherwise, m, seen)
        case ("branch", then, otherwise):
            return await block(then if last else otherwise, m, seen)
        case ("loop", n, body):
            for _ in range(n):
                seen = await block(body, m, seen)
        case ("retry", c, v, body):
            while await m.cells[c].load() != v:
                await block(body, m, ())
        case ("ever", body):
            while True:
                await block(body, m, ())
        case _:
            raise AssertionError(op)
    return seen


# ---- machines


def _starter(body: Body, memory: Memory) -> Callable[[], Any]:
    return lambda: block(body, memory)


def machine_of(program: Program) -> Machine:
    """A fresh machine that runs the program."""
    world = World()
    cells = tuple(world.cell(f"c{number}", value) for number, value in enumerate(program.cells))
    locks = tuple(world.lock(RwSem, f"m{number}.l{number}") for number in range(program.locks))
    memory = Memory(cells, locks)
    names = ["a", "b", "c", "d", "e"]
    threads = [
        Thread(names[number], _starter(body, memory), silent=number in program.silent)
        for number, body in enumerate(program.threads)
    ]
    groups: tuple[tuple[str, ...], ...] = ()
    if program.copies:
        users = []
        for number in range(program.copies):
            own = world.cell(f"user[{number}].x", program.cells[-1])
            private = Memory((*cells[:-1], own), locks)
            silent = 0 in program.silent
            users.append(Thread(f"user[{number}]", _starter(program.threads[0], private), silent=silent))
        groups = (tuple(user.name for user in users),)
        threads[:1] = users
    return Machine(world, tuple(threads), copies=groups)


def judge_of(program: Program, world: World) -> Callable[..., Any]:
    """Properties of steps that change a watched cell.

    ("sum", w, c, limit)     after a change of cell w, w and c together stay at or below the limit
    ("both", w, c, v)        w does not change while c holds v
    ("chain", w, c, d, v)    as "both" with c = 1 looked at first, and d only if that is so
    """

    def judge(before: Any, after: Any, step: Any) -> tuple[str, str] | None:
        for kind, watched, *rest in program.judges:
            cells = [world.cell(f"c{number}", 0) for number in rest]
            if step.cell.name != f"c{watched}":
                continue
            if kind == "sum" and after[step.cell] + after[cells[0]] > rest[1]:
                return ("sum", f"{rest}")
            if kind == "both" and before[cells[0]] == rest[1]:
                return ("both", f"{rest}")
            if kind == "chain" and before[cells[0]] == 1 and before[cells[1]] == rest[2]:
                return ("chain", f"{rest}")
        return None

    return judge


def resting_of(program: Program, world: World) -> Callable[..., Any] | None:
    """At rest, the two cells do not add up to the number."""
    if program.resting is None:
        return None
    one, other, number = program.resting

    def resting(tables: Tables, places: Any) -> tuple[str, str] | None:
        view = tables.view(places)
        total = view[world.cell(f"c{one}", 0)] + view[world.cell(f"c{other}", 0)]
        return ("resting", f"{total}") if total == number else None

    return resting


def tables_of(program: Program, *, merge: bool = True) -> tuple[Tables, Any]:
    """Fresh tables of the program, and its resting judge."""
    machine = machine_of(program)
    watched = {f"c{judge[1]}" for judge in program.judges}
    tables = Tables(
        machine,
        judge=judge_of(program, machine.world) if program.judges else None,
        watched=lambda cell: cell.name in watched,
        merge=merge,
    )
    return tables, resting_of(program, machine.world)


def outcomes(tables: Tables, found: Explored) -> set[Any]:
    """Every outcome that a search saw, copies told apart only by what they returned."""
    group = next(iter(tables.machine.copies), ())
    told = set()
    for nodes in found.quiescent:
        one_outcome = outcome(tables, nodes)
        alike = sorted((repr(value) for name, value in one_outcome if name in group))
        told.add((tuple(alike), tuple((name, value) for name, value in one_outcome if name not in group)))
    return told


def broken_names(found: Explored) -> set[str]:
    """The names of the properties that a search saw broken."""
    return {broken.fault[0] for broken in found.broken}


# ---- random programs

Pick = Callable[[int], int]
"""A number below the one given."""

VALUES = 3


class Maker:
    """Makes programs out of numbers that `pick` hands it, so that hypothesis and a seed can both do it."""

    def __init__(self, pick: Pick, *, cells: int, locks: int, retries: bool, loops: bool = False) -> None:
        self.pick = pick
        self.cells = cells
        self.locks = locks
        self.retries = retries
        self.flat = self.FLAT + self.LOOPS * 4 if loops else self.FLAT

    def body(self, longest: int, deep: int) -> Body:
        return tuple(self.op(deep) for _ in range(1 + self.pick(longest)))

    def op(self, deep: int) -> tuple[Any, ...]:
        kinds = self.flat if deep == 0 or self.pick(3) else self.NESTED
        return kinds[self.pick(len(kinds))](self, deep)

    def c(self) -> int:
        return self.pick(self.cells)

    def v(self) -> int:
        return self.pick(VALUES)

    FLAT: tuple[Callable[[Maker, int], tuple[Any, ...]], ...] = (
        lambda m, _: ("load", m.c()),
        lambda m, _: ("store", m.c(), m.v()),
        lambda m, _: ("inc", m.c()),
        lambda m, _: ("dec", m.c()),
        lambda m, _: ("add", m.c(), 2),
        lambda m, _: ("wait", m.c(), m.v()),
        lambda m, _: ("cmpxchg", m.c(), m.v(), m.v()),
        lambda m, _: ("inc_not_zero", m.c()),
        lambda m, _: ("inc_unless_negative", m.c()),
        lambda m, _: ("exchange", m.c(), m.v()),
        lambda m, _: ("copy", m.c()),
        lambda m, _: ("add_return", m.c(), 1),
        lambda m, _: ("wait_timeout", m.c(), m.v()),
        lambda m, _: ("choose", 2),
        lambda m, _: ("resched",),
        lambda m, _: ("dec_and_test", m.c()),
    )
    LOOPS: tuple[Callable[[Maker, int], tuple[Any, ...]], ...] = (
        lambda m, _: ("retry", m.c(), m.v(), ()),
        lambda m, _: ("retry", m.c(), m.v(), (("cmpxchg", m.c(), m.v(), m.v()),)),
        lambda m, _: ("ever", (("wait", m.c(), m.v()), ("store", m.c(), m.v()), ("store", m.c(), m.v()))[m.pick(2) :]),
    )
    NESTED: tuple[Callable[[Maker, int], tuple[Any, ...]], ...] = (
        lambda m, d: ("lock", m.pick(m.locks), m.body(2, d - 1)),
        lambda m, d: ("lock", m.pick(m.locks), m.body(2, d - 1)),
        lambda m, d: ("read", m.pick(m.locks), m.body(2, d - 1)),
        lambda m, d: ("downgrade", m.pick(m.locks), m.body(1, d - 1), m.body(1, d - 1)),
        lambda m, d: ("if", m.c(), m.v(), m.body(2, d - 1), m.body(1, d - 1)),
        lambda m, d: ("branch", m.body(2, d - 1), ()),
        lambda m, d: ("loop", 2, m.body(2, d - 1)),
        lambda m, d: (
            (
                "retry",
                m.c(),
                m.v(),
                (("load", m.c()), ("store", m.c(), m.v()), ("resched",))[: 1 + m.pick(2)][m.pick(2) :],
            )
            if m.retries
            else ("loop", 2, m.body(1, d - 1))
        ),
    )


def make(
    pick: Pick,
    *,
    threads: int = 3,
    steps: int = 4,
    retries: bool = True,
    copies: bool = False,
    judges: bool = True,
    devices: bool = True,
    loops: bool = False,
) -> Program:
    """A random program of 2 to `threads` threads of up to `steps` steps; with `loops`, many that may never end."""
    cells = 2 + pick(3)
    maker = Maker(pick, cells=cells, locks=2, retries=retries, loops=loops)
    bodies = tuple(maker.body(steps, 2) for _ in range(2 + pick(threads - 1)))
    silent = tuple(number for number in range(len(bodies)) if devices and pick(4) == 0)
    if len(silent) == len(bodies):
        silent = silent[1:]
    made: list[tuple[Any, ...]] = []
    for _ in range(pick(3) if judges else 0):
        c, d, e = pick(cells), pick(cells), pick(cells)
        made.append((("sum", c, d, 1 + pick(4)), ("both", c, d, pick(3)), ("chain", c, d, e, pick(3)))[pick(3)])
    resting = (pick(cells), pick(cells), pick(4)) if judges and pick(2) else None
    return Program(
        bodies,
        tuple(pick(2) for _ in range(cells)),
        2,
        silent,
        tuple(made),
        resting,
        2 + pick(2) if copies else 0,
    )


@st.composite
def programs(draw: st.DrawFn, /, **sizes: Any) -> Program:
    """Random programs, for hypothesis to shrink."""
    return make(lambda below: draw(st.integers(0, below - 1)), **sizes)


def seeded(seed: int | str, **sizes: Any) -> Program:
    """The program of that seed."""
    rng = random.Random(seed)
    return make(rng.randrange, **sizes)


# ---- toys by hand


def thread(function: Callable[..., Any], *arguments: Any, name: str = "", **kind: Any) -> Thread:
    """A thread of a plain coroutine function; one that closes over nothing, so that its local state can be told."""
    return Thread(name or function.__name__, lambda: function(*arguments), **kind)


def toy(*threads: Thread, merge: bool = True, **properties: Any) -> Tables:
    """Tables of a machine with these threads and nothing else."""
    return Tables(Machine(World(), threads), merge=merge, **properties)


def told(tables: Tables, found: Explored) -> set[tuple[Any, ...]]:
    """The outcomes, as what each thread returned, without the names."""
    return {tuple(value for _, value in outcome(tables, nodes)) for nodes in found.quiescent}


MODEST = 3000


def modest(found: Explored) -> str | None:
    """A bound that keeps a test short."""
    return "too big for a test" if found.states > MODEST else None
