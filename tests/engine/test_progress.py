"""Livelocks: by hand, and on random machines against what the definition says of every state."""

import attrs
import pytest
from hypothesis import given

from mmsim.cells import Cell, Mutex, World
from mmsim.engine import reduced
from mmsim.engine.automaton import Automaton
from mmsim.engine.progress import NO_LIVELOCK, trapped, ways_back
from mmsim.engine.reduced import explore_reduced, path_to
from mmsim.engine.run import Run
from mmsim.engine.search import explore
from mmsim.engine.tables import Tables
from mmsim.steps import KernelBug, choose, cond_resched
from mmsim.threads import Machine
from tests.engine.programs import Program, at_least, broken_names, modest, programs, seeded, tables_of, thread, toy
from tests.engine.test_reduced import RANDOM

SEARCHES = pytest.mark.parametrize("search", [explore, explore_reduced])

# ---- by hand


async def spinner(cell):
    while True:
        if await cell.load():
            return "seen"


async def setter(cell):
    await cell.store(1)


async def passes_on(mine, yours):
    while True:
        await mine.wait_until(at_least, 1)
        await mine.store(0)
        await yours.store(1)


async def yields():
    while True:
        await cond_resched()


async def sets_or_not(cell):
    if await choose(2):
        await cell.store(1)


async def sets_under(lock, cell):
    async with lock:
        await cell.store(1)


async def spins_under(lock, cell):
    async with lock:
        while True:
            if await cell.load():
                return


async def three_steps(one, other):
    while True:
        await one.load()
        await other.load()
        await cond_resched()


async def loops_then_fails(cell):
    while True:
        if await cell.load():
            message = "the loop was left"
            raise KernelBug(message)


async def waiter(cell):
    return await cell.wait_until(at_least, 1)


def broken_by(search, *threads):
    return [broken.fault for broken in search(toy(*threads)).broken]


def spinning(detail):
    return [(NO_LIVELOCK, detail)]


def line(function, offset):
    return f"[test_progress.py:{function.__code__.co_firstlineno + offset}]"


@SEARCHES
def test_nobody_will_change_what_it_looks_at(search):
    cell = Cell("c", 0)
    told = f"spinner spins for ever in spinner() {line(spinner, 2)}, over c"
    assert broken_by(search, thread(spinner, cell)) == spinning(told)


@SEARCHES
def test_somebody_else_ends_it(search):
    cell = Cell("c", 0)
    assert not broken_by(search, thread(spinner, cell), thread(setter, cell))


@SEARCHES
def test_a_token_passed_on_for_ever(search):
    """Each of them waits for the other again and again, and one of them can always move."""
    one, other = Cell("one", 1), Cell("other", 0)
    [(name, detail)] = broken_by(
        search, thread(passes_on, one, other, name="a"), thread(passes_on, other, one, name="b")
    )
    assert name == NO_LIVELOCK
    assert [part.partition(" in ")[0] for part in detail.split("; ")] == ["a spins for ever", "b spins for ever"]


@SEARCHES
def test_a_lost_token_is_a_deadlock(search):
    one, other = Cell("one", 0), Cell("other", 0)
    found = broken_by(search, thread(passes_on, one, other, name="a"), thread(passes_on, other, one, name="b"))
    assert [name for name, _ in found] == ["no deadlock"]


@SEARCHES
def test_only_behind_a_choice(search):
    cell = Cell("c", 0)
    tables = toy(thread(sets_or_not, cell), thread(spinner, cell))
    found = search(tables)
    assert broken_names(found) == {NO_LIVELOCK}
    way = path_to(tables, found, found.broken[0].witness, reduced=search is explore_reduced)
    assert (0, 0) in way
    assert (0, 1) not in way


@SEARCHES
def test_beside_a_thread_that_has_ended(search):
    cell, other = Cell("c", 0), Cell("d", 0)
    found = broken_by(search, thread(setter, other), thread(spinner, cell))
    assert found == spinning(f"spinner spins for ever in spinner() {line(spinner, 2)}, over c")


@SEARCHES
def test_beside_a_thread_that_waits_for_the_spinner(search):
    """Holding the lock, it waits for who waits for the lock."""
    cell, lock = Cell("c", 0), Mutex("a.lock")
    found = broken_by(search, thread(spins_under, lock, cell), thread(sets_under, lock, cell))
    assert found == spinning(f"spins_under spins for ever in spins_under() {line(spins_under, 3)}, over c")


@SEARCHES
def test_a_loop_that_waits_for_a_device(search):
    """The device may stay silent for ever, but it may answer as well."""
    cell = Cell("c", 0)
    assert not broken_by(search, thread(spinner, cell), thread(setter, cell, silent=True))


@SEARCHES
def test_a_device_that_does_not_help(search):
    cell, other = Cell("c", 0), Cell("d", 0)
    assert broken_by(search, thread(spinner, cell), thread(setter, other, silent=True))
    assert broken_by(search, thread(spinner, cell), thread(yields, silent=True))


@SEARCHES
def test_a_device_may_go_round_for_ever(search):
    """Everybody else has ended, or waits: that is rest."""
    assert not broken_by(search, thread(yields, silent=True), thread(setter, Cell("c", 0)))


@SEARCHES
def test_a_loop_that_is_left_into_a_broken_property(search):
    """What would come after that is not known, so the loop is not said to be endless."""
    cell = Cell("c", 0)
    tables = toy(thread(loops_then_fails, cell), thread(setter, cell))
    assert broken_names(search(tables)) == {"no kernel bug"}
    assert trapped(tables, tables.unpack(tables.initial()), 100) is None


def test_a_move_that_breaks_a_property_beside_a_loop():
    program = Program(((("ever", (("load", 0),)),), (("store", 1, 1),)), judges=(("both", 1, 2, 0),))
    tables, _ = tables_of(program)
    assert trapped(tables, tables.unpack(tables.initial()), 100) is None
    tables, _ = tables_of(attrs.evolve(program, judges=()))
    assert trapped(tables, tables.unpack(tables.initial()), 100) is not None


@SEARCHES
def test_a_circle_of_forced_moves(search):
    """Nobody is in its way, so all its moves are forced, and the other's are not forgotten over them."""
    one, other = Cell("one", 0), Cell("other", 0)
    found = broken_by(search, thread(three_steps, one, other), thread(setter, Cell("c", 0)))
    lines = line(three_steps, 2).replace("]", f"-{three_steps.__code__.co_firstlineno + 4}]")
    assert found == spinning(f"three_steps spins for ever in three_steps() {lines}, over one, other")


@SEARCHES
def test_a_deadlock_beside_a_loop_is_told_as_a_livelock(search):
    """One thread waits for ever, but the machine is never at rest."""
    assert [name for name, _ in broken_by(search, thread(waiter, Cell("c", 0)), thread(yields))] == [NO_LIVELOCK]


async def takes_a_turn(own, turn):
    await own.store(1)
    await turn.wait_until(at_least, 1)
    while True:
        await own.store(1)
        await own.store(0)


@SEARCHES
@pytest.mark.parametrize("first", [0, 1])
def test_copies(search, first):
    world = World()
    names = tuple(f"user[{number}]" for number in range(3))
    turn = world.cell("turn", first)
    copies = tuple(thread(takes_a_turn, world.cell(f"{name}.x", 0), turn, name=name) for name in names)
    tables = Tables(Machine(world, copies, copies=(names,)))
    assert broken_names(search(tables)) == ({NO_LIVELOCK} if first else {"no deadlock"})


def test_how_the_loops_of_a_thread_are_known():
    """Nodes of passes_on: wait, store, store, and back to the first."""
    automaton = Automaton(thread(passes_on, Cell("one", 1), Cell("other", 0)))
    assert ways_back(automaton) == {}
    for node, result in enumerate([1, None, None]):
        automaton.follow(node, result)
    assert set(ways_back(automaton)) == {0, 1, 2}
    assert len(set(ways_back(automaton).values())) == 1


def test_a_region_that_is_too_large_to_look_at_is_not_said_to_be_sound():
    cells = [Cell(f"c{number}", 0) for number in range(3)]
    tables = toy(*(thread(three_steps, cell, cell, name=name) for cell, name in zip(cells, "xyz", strict=True)))
    places = tables.unpack(tables.initial())
    assert trapped(tables, places, 26) is None
    assert trapped(tables, places, 27) is not None
    asked = []

    def stop(found):
        asked.append(found.states)
        return "a bound" if len(asked) > 1 else None

    for search in (explore, explore_reduced):
        asked.clear()
        found = search(tables, stop=stop)
        assert found.stopped == "a bound, in the search for livelocks"
        assert not found.broken


# ---- at random


@pytest.fixture(autouse=True, scope="module")
def few_walks():
    """A walk round a loop teaches nothing, and is long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduced, "QUIET_WALKS", 3)
        yield


def successors(tables, state):
    """(silent, broken, state) of every move."""
    places = tables.unpack(state)
    for mover in range(tables.threads):
        for alternative, (place, new, after, special) in enumerate(tables.following(mover, places)):
            reached = places[:]
            reached[place], reached[mover] = new, after
            broken = special is not None and (
                special.bugs[alternative] is not None
                or (special.watched and tables.verdict(special, mover, places[mover], places, reached) is not None)
            )
            yield tables.machine.threads[mover].silent, broken, bytes(reached)


def never_at_rest(tables, states):
    """By the definition: those of the states from which no quiescent one and no broken move can be reached."""
    before = {state: [] for state in states}
    rests = []
    for state in states:
        moves = list(successors(tables, state))
        if all(silent for silent, _, _ in moves) or any(broken for _, broken, _ in moves):
            rests.append(state)
        for _, broken, after in moves:
            if not broken:
                before[after].append(state)
    reached = set(rests)
    while rests:
        for state in before[rests.pop()]:
            if state not in reached:
                reached.add(state)
                rests.append(state)
    return set(states) - reached


def judged(program, *, ignorant=False):
    """Whether there is a livelock and nothing else, having compared both searches with the definition."""
    tables, resting = tables_of(program)
    found = explore(tables, resting=resting, stop=modest)
    if found.stopped is not None or broken_names(found) - {NO_LIVELOCK}:
        return False
    doomed = never_at_rest(tables, found.seen)
    assert (broken_names(found) == {NO_LIVELOCK}) == bool(doomed), program
    for broken in found.broken:
        assert broken.witness.stored in doomed, program
    part, resting = tables_of(program)
    part.rehearsed = ignorant
    again = explore_reduced(part, resting=resting)
    assert broken_names(again) == broken_names(found), program
    for broken in again.broken:
        follow(part, resting, path_to(part, again, broken.witness, reduced=True))
    return bool(doomed)


def follow(tables, resting, path):
    """A way to a livelock must be one that can be gone, and lead to one."""
    run = Run(tables, resting)
    for mover, alternative in path:
        run.step(mover, alternative)
    spin = run.livelock()
    assert spin is not None
    for mover, alternative in spin.way:
        run.step(mover, alternative)
    entry = bytes(run.places)
    for mover, alternative in spin.turn:
        run.step(mover, alternative)
    assert bytes(run.places) == entry


@RANDOM
@given(programs(loops=True, steps=3))
def test_both_searches_find_what_the_definition_says(program):
    judged(program)


@RANDOM
@given(programs(loops=True, threads=2, steps=2, copies=True))
def test_so_they_do_among_copies(program):
    judged(program)


@pytest.mark.parametrize("batch", range(4))
def test_so_they_do_on_many_programs_of_a_seed(batch):
    kind = {"devices": bool(batch % 2), "judges": batch < 2}
    found = sum(judged(seeded(f"spin/{batch}/{number}", steps=3, loops=True, **kind)) for number in range(40))
    assert found > 6


@pytest.mark.parametrize("batch", range(2))
def test_so_they_do_on_copies_of_a_seed(batch):
    kind = {"threads": 2, "steps": 2, "copies": True, "devices": bool(batch)}
    found = sum(judged(seeded(f"spin/copies/{batch}/{number}", loops=True, **kind)) for number in range(30))
    assert found > 6


def test_so_they_do_where_the_reduced_search_learns_as_it_goes():
    assert sum(judged(seeded(f"spin/0/{number}", steps=3, loops=True), ignorant=True) for number in range(40)) > 8


def test_a_search_that_ignored_a_thread_would_be_wrong(monkeypatch):
    """Or the tests above could not fail: without the proviso a circle of forced moves is all that is seen."""

    def expand(self, state, following):
        places = self.tables.unpack(state)
        able = sum(1 << mover for mover in range(self.tables.threads) if self.tables.following(mover, places))
        self.move(state, places, self.persistent.of(places, able), following)

    monkeypatch.setattr(reduced._Reduced, "expand", expand)
    program = Program(((("load", 1), ("ever", (("load", 0),))), (("retry", 1, 1, ()),), (("store", 1, 1),)), (0, 0))
    with pytest.raises(AssertionError):
        judged(program)
