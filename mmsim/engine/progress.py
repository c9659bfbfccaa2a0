"""Livelocks: states in which somebody can always move, and nobody will ever come to rest, whatever anybody does.

To come to rest is to reach a state in which no thread but a silent one can move: all have ended, or wait.  A livelock
is a reachable state from which no such state can be reached, by any choice of anybody, the devices' answers included.
So a loop that ends once a device answers is none, though the device may stay silent for ever.  Nor is one that a move
leaves which breaks a property: what comes after that move is not explored.

From a livelock every execution ends up in a strongly connected component of the graph of states that no move leaves.
There whoever moves comes back to where he was, so he is at a node of his automaton from which a way leads back, and so
is whatever the move leads to.  States like that, in which *all* that can move go round and some thread that is not
silent can, are the candidates; few states are, and none where no automaton has a way back.  Of the candidates those
are taken away from which a move leads to a state that is no candidate, again and again; a livelock is what is left.

That finds all of them among the states of the unreduced search.  The reduced search (`mmsim.engine.reduced`) stores
representatives only, but no thread is ignored for ever there, so from each state it stores, every execution is
equivalent to the first part of one that it follows (Godefroid, chapter 6).  One that leads into a component as above
stays in it however it goes on, and so does the run of forced moves that it ends in: a state of the component, or one
that renaming copies makes of it, is stored.  So it is enough to look for candidates among the states stored; what
they lead to is found by all their moves, unreduced.  Nor does that teach the automata anything (see
`mmsim.check.observe`), so which nodes have a way back is known before it begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise, takewhile

import attrs

from mmsim.engine.automaton import Automaton, Node
from mmsim.engine.graph import circles, components, shortest_way
from mmsim.engine.tables import Fault, Path, Places, Special, State, Tables
from mmsim.trace import Frame

NO_LIVELOCK = "no livelock"

Moves = list[tuple[int, int, State]]
"""(thread, alternative, the state it leads to) of every move in a state."""
Region = dict[State, Moves]
"""States with all their moves, none of which leads out."""
Enough = Callable[["dict[State, State | None]"], bool]
"""Asked now and then, of the states that candidates lead to; if it is, the search for livelocks is given up."""

STATES_BETWEEN_CHECKS = 64
CELLS_TOLD = 4


@attrs.frozen
class Livelock:
    """A way into a loop that nothing ends: `way` leads from `start` to it, if that is not in it, `turn` once round."""

    start: State
    way: Path
    turn: Path
    fault: Fault
    region: Collection[State]
    """Where all that goes round there can get to, and where it can come from."""


def livelock(tables: Tables, stored: Iterable[State], enough: Enough) -> Livelock | None:
    """What nobody gets out of, of a complete search; `start` is the first such state that is stored."""
    loops = [ways_back(automaton) for automaton in tables.automata]
    if not any(loops[thread] for thread in _loud(tables)):
        return None
    unpack = tables.unpack
    candidates = [state for state in stored if _all_go_round(tables, loops, unpack(state))]
    region = _closed(tables, loops, candidates, enough)
    return _told(tables, region, next(iter(region))) if region else None


def trapped(tables: Tables, places: Places, most: int) -> Livelock | None:
    """The livelock that a state is, or leads to; None as well if more than `most` states can be reached from it."""
    start = bytes(places)
    region: Region = {}
    waiting = [start]
    while waiting:
        state = waiting.pop()
        if state in region:
            continue
        moves = _moves(tables, state)
        if moves is None or len(region) == most:
            return None
        region[state] = moves
        waiting += [after for _, _, after in moves]
    return _told(tables, region, start)


def ways_back(automaton: Automaton) -> dict[int, int]:
    """The nodes of a thread from which a way leads back to them, each with a number that those share that it passes."""
    graph = {node.number: tuple(node.next.values()) for node in automaton.nodes}
    return {
        number: component[0] for component in components(graph) if circles(graph, component) for number in component
    }


def _loud(tables: Tables) -> list[int]:
    return [number for number, thread in enumerate(tables.machine.threads) if not thread.silent]


def _all_go_round(tables: Tables, loops: list[dict[int, int]], places: Places) -> bool:
    """Whether every move there leads to a node from which a way leads back."""
    for thread, rows in enumerate(tables.rows):
        node = places[thread]
        place, row = rows[node]
        move = row[places[place]]
        if move is None:
            continue
        of = loops[thread]
        loop = of.get(node)
        if loop is None:
            return False
        if move.__class__ is Special:
            if any(of.get(after) != loop for _, after in move.alternatives):
                return False
        elif of.get(move[1]) != loop:
            return False
    return True


def _moves(tables: Tables, state: State) -> Moves | None:
    """Every move there is; None where only silent threads can move, and where a move breaks a property."""
    places = tables.unpack(state)
    moves: Moves = []
    quiescent = True
    for thread, machine_thread in enumerate(tables.machine.threads):
        for alternative, (place, new, after, special) in enumerate(tables.following(thread, places)):
            reached = places[:]
            reached[place] = new
            reached[thread] = after
            if special is not None and _breaks(tables, special, alternative, thread, places, reached):
                return None
            moves.append((thread, alternative, bytes(reached)))
            quiescent = quiescent and machine_thread.silent
    return None if quiescent else moves


def _breaks(tables: Tables, special: Special, alternative: int, thread: int, before: Places, after: Places) -> bool:
    if special.bugs[alternative] is not None:
        return True
    return special.watched and tables.verdict(special, thread, before[thread], before, after) is not None


def _closed(tables: Tables, loops: list[dict[int, int]], candidates: list[State], enough: Enough) -> Region:
    """All that the candidates lead to and nothing leads out of; empty as well if that is `enough`."""
    region: Region = {}
    before: defaultdict[State, list[State]] = defaultdict(list)
    leaving: list[State] = []
    met: dict[State, State | None] = dict.fromkeys(candidates)
    waiting = list(met)
    for number, state in enumerate(waiting):  # which grows meanwhile
        if number % STATES_BETWEEN_CHECKS == 0 and enough(met):
            return {}
        moves = _moves(tables, state) if _all_go_round(tables, loops, tables.unpack(state)) else None
        if moves is None:
            leaving.append(state)
            continue
        region[state] = moves
        for _, _, after in moves:
            before[after].append(state)
            if after not in met:
                met[after] = None
                waiting.append(after)
    while leaving:
        for state in before[leaving.pop()]:
            if region.pop(state, None) is not None:
                leaving.append(state)
    return region


# ---- how it is told


def _told(tables: Tables, region: Region, start: State) -> Livelock:
    graph = {state: [after for _, _, after in region[state]] for state in (start, *region)}
    inner = frozenset(next(components(graph)))  # the first is one that leads to no other
    way = [] if start in inner else shortest_way(graph, start, inner.__contains__)
    entry = way[-1] if way else start
    turn = shortest_way(graph, entry, entry.__eq__)
    spinning = sorted({(thread, tables.unpack(state)[thread]) for state in inner for thread, _, _ in region[state]})
    threads = dict.fromkeys(thread for thread, _ in spinning)
    told = [_spins(tables, one, [node for thread, node in spinning if thread == one]) for one in threads]
    return Livelock(
        start,
        tuple(_path(region, [start, *way])),
        tuple(_path(region, [entry, *turn])),
        (NO_LIVELOCK, "; ".join(told)),
        region.keys(),
    )


def _path(region: Region, states: list[State]) -> Iterator[tuple[int, int]]:
    for state, wanted in pairwise(states):
        yield next((thread, alternative) for thread, alternative, after in region[state] if after == wanted)


def _spins(tables: Tables, thread: int, numbers: list[int]) -> str:
    """Who goes round, in which function, and over what: the locks taken there are named if nothing else is."""
    nodes = [tables.node(thread, number) for number in numbers]
    steps = [node.step for node in nodes if node.step is not None and node.step.cell is not None]
    looked_at = [step for step in steps if not (step.acquires or step.releases)] or steps
    cells = list(dict.fromkeys(str(step.cell) for step in looked_at))
    more = f" and {len(cells) - CELLS_TOLD} more" if len(cells) > CELLS_TOLD else ""
    over = f", over {', '.join(cells[:CELLS_TOLD])}{more}" if cells else ""
    return f"{tables.machine.threads[thread].name} spins for ever in {_where(nodes)}{over}"


def _where(nodes: list[Node]) -> str:
    """The innermost function that all of the loop is in, and the thread's own; the loop is one of theirs, or between.

    Which one is not told by where its steps are: one call made again and again looks like one that is never left.
    """
    stacks = zip(*(node.frames for node in nodes), strict=False)
    alike = list(takewhile(lambda frames: len({(frame.function, frame.file) for frame in frames}) == 1, stacks))
    called = f", called from {_lines(alike[0])}" if len(alike) > 1 else ""
    return f"{_lines(alike[-1])}{called}"


def _lines(frames: Sequence[Frame]) -> str:
    first, last = (choose(frame.line for frame in frames) for choose in (min, max))
    return f"{frames[0].function}() [{frames[0].file}:{first if first == last else f'{first}-{last}'}]"
