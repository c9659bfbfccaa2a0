"""What a search saw beside its verdict: who waits, how long a seal can take, where references are dropped.

Nothing here is declared by a design; all of it is read off the states explored and the automata learnt.  Each piece
survives the reduction (`mmsim.engine.reduced`), for one of two reasons:

- `waits` and `needless` are functions of what every thread but the devices has come to where nothing but a device can
  move.  The reduced search finds each such combination, as it must to find every outcome; of copies that are alike it
  finds one, so the number of a copy is never told.
- `seal_*` and `drops` are functions of each thread's own nodes and edges.  Persistent sets whose search ignores no
  thread for ever take every step, with every result, that some thread takes in some execution (Godefroid, chapter 6),
  so the automata of both searches are the same.  How long a call can take is a longest way through its thread's
  automaton: an upper bound, which the other threads together may never let it reach.

Of a scenario that is violated it is what was seen up to the violations, for behind them nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from mmsim.cells import Lock
from mmsim.check.judge import holds_for
from mmsim.engine.automaton import Automaton, Node
from mmsim.engine.graph import Graph, circles, components
from mmsim.engine.search import Explored
from mmsim.engine.tables import Tables
from mmsim.kernel.types import Page
from mmsim.scenario import Scenario
from mmsim.trace import call_key, system_call
from mmsim.verdict import Drop, Observed, Outcome, Wait

SEALING = "add_seals"
SLEEPING = frozenset({"sleep", "wait_until_timeout"})


def observe(scenario: Scenario, tables: Tables, found: Explored, outcomes: Iterable[Outcome]) -> Observed:
    """Everything that is observed in a finished search."""
    sealing = [(automaton, graph) for automaton in tables.automata for graph in calls_of(automaton, SEALING) if graph]
    sleeps = {
        automaton.nodes[number].frames[-1].function
        for automaton, graph in sealing
        for number in graph
        if word_of(automaton.nodes[number]) in SLEEPING
    }
    seen = list(outcomes)
    return Observed(
        waits=tuple(sorted(set(waits(tables, found)))),
        seal_ns=most(
            longest(graph, {number: slept(automaton, number) for number in graph}) for automaton, graph in sealing
        ),
        seal_steps=most(longest(graph, dict.fromkeys(graph, 1)) for _, graph in sealing),
        seal_sleeps_in=tuple(sorted(sleeps)),
        needless=tuple(one.__name__ for one in scenario.needless if any(holds_for(one, outcome) for outcome in seen)),
        drops=tuple(sorted(set(drops(tables)))),
    )


def waits(tables: Tables, found: Explored) -> Iterator[Wait]:
    """Whoever is inside a system call where nothing but a silent device could still move.

    A device of the model may stop between any two steps, but whoever holds a lock goes on until he gives it back.  So
    where a task waits for a lock that no task holds, a device was cut short, and nobody waits for an answer of it.
    """
    loud = [thread for thread, each in enumerate(tables.machine.threads) if not each.silent]

    def cut_short(nodes: tuple[int, ...]) -> bool:
        ours = [tables.node(thread, nodes[thread]) for thread in loud]
        held = {lock for node in ours for lock, _ in node.held}
        return any(takes_another(held, node) for node in ours)

    stuck = {(thread, nodes[thread]) for nodes in found.quiescent if not cut_short(nodes) for thread in loud}
    for thread, number in stuck:
        node = tables.node(thread, number)
        depth = system_call(node.frames)
        if node.step is not None and depth is not None:
            yield Wait(node.frames[depth].function, node.frames[-1].function, field_of(node))


def drops(tables: Tables) -> Iterator[Drop]:
    """Where counts of pages are given back, and whether the last was."""
    for automaton in tables.automata:
        for node in automaton.nodes:
            if word_of(node) == "dec_and_test" and node.next:
                assert node.step is not None
                if isinstance(tables.machine.world.named(node.step.cell.name.rpartition(".")[0]), Page):
                    last = (bool, True) in node.next
                    yield Drop(field_of(node), automaton.thread.context.value, last)


def takes_another(locks: Set[Lock], node: Node) -> bool:
    """Whether the pending step takes a lock that is none of these."""
    return node.step is not None and node.step.acquires and node.step.cell not in locks


def word_of(node: Node) -> str:
    """The word of the step pending there, or ''."""
    return "" if node.step is None or node.bug is not None else node.step.word


def field_of(node: Node) -> str:
    """The field that the pending step acts on."""
    return "" if node.step is None or node.step.cell is None else str(node.step.cell.name.rpartition(".")[2])


def slept(automaton: Automaton, number: int) -> int:
    """How many nanoseconds the step at a node sleeps."""
    step = automaton.nodes[number].step
    return int(step.operands[0]) if step is not None and step.word == "sleep" else 0  # type: ignore[call-overload]  # an operand is an object


# ---- the longest way through a system call


def calls_of(automaton: Automaton, name: str) -> list[dict[int, list[int]]]:
    """For each call of that name that the thread makes, its nodes and where they lead within it.

    A call's first step, which looks the descriptor up, is one that no loop inside it comes back to: what leads there
    is the same call made again.
    """
    inside: dict[int, tuple[object, ...]] = {}
    for node in automaton.nodes:
        depth = system_call(node.frames)
        if word_of(node) and depth is not None and node.frames[depth].function == name:
            inside[node.number] = call_key(node.frames, depth)
    first = {0} | {
        after
        for node in automaton.nodes
        for after in node.next.values()
        if inside.get(after) != inside.get(node.number)
    }
    graphs: dict[tuple[object, ...], dict[int, list[int]]] = {}
    for number, key in inside.items():
        following = automaton.nodes[number].next.values()
        graphs.setdefault(key, {})[number] = sorted(
            {after for after in following if inside.get(after) == key and after not in first}
        )
    return list(graphs.values())


def longest(graph: Graph[int], weight: Mapping[int, int]) -> int | None:
    """The greatest weight of all nodes along one way; None if there is no limit to it."""
    best: dict[int, int] = {}
    for component in components(graph):  # those it leads to come first
        members = set(component)
        beyond = max((best[after] for one in component for after in graph[one] if after not in members), default=0)
        own = sum(weight[one] for one in component)
        if own and circles(graph, component):
            return None
        best |= dict.fromkeys(component, own + beyond)
    return max(best.values(), default=0)


def most(values: Iterable[int | None]) -> int | None:
    """The greatest; None, which is no limit, is greater than all."""
    known = list(values)
    return None if None in known else max((value for value in known if value is not None), default=0)
