"""What is asked of directed graphs: strongly connected components, and a shortest way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

N = TypeVar("N", bound=Hashable)

Graph = Mapping[N, Sequence[N]]
"""Where each node leads."""


@attrs.define
class _Visit(Generic[N]):
    low: int
    following: deque[N]


def components(graph: Graph[N]) -> Iterator[list[N]]:
    """The strongly connected components, each after all that it leads to (Tarjan 1972, without recursion)."""
    numbers: dict[N, int] = {}
    placed: set[N] = set()
    stack: list[N] = []
    for root in graph:
        visits: dict[N, _Visit[N]] = {}
        way = [] if root in numbers else [root]
        while way:
            here = way[-1]
            if here not in visits:
                numbers[here] = len(numbers)
                visits[here] = _Visit(numbers[here], deque(graph[here]))
                stack.append(here)
            visit = visits[here]
            if visit.following:
                after = visit.following.popleft()
                if after not in numbers:
                    way.append(after)
                elif after not in placed:
                    visit.low = min(visit.low, numbers[after])
                continue
            way.pop()
            if way:
                visits[way[-1]].low = min(visits[way[-1]].low, visit.low)
            if visit.low == numbers[here]:
                component = [stack.pop()]
                while component[-1] != here:
                    component.append(stack.pop())
                placed.update(component)
                yield component[::-1]


def circles(graph: Graph[N], component: Sequence[N]) -> bool:
    """Whether there is a way round in a component: it has several nodes, or one that leads to itself."""
    return len(component) > 1 or component[0] in graph[component[0]]


def shortest_way(graph: Graph[N], start: N, there: Callable[[N], bool]) -> list[N]:
    """The nodes of a shortest way from `start`, which is left out, to one that is `there`: at least one step."""
    came: dict[N, N] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for after in graph[here]:
            if there(after):
                way = [after]
                while here != start:
                    way.append(here)
                    here = came[here]
                return way[::-1]
            if after not in came and after != start:
                came[after] = here
                waiting.append(after)
    raise ValueError(start)
