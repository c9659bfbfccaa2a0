"""A log, replayed in the model, and what came of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs

from mmsim.conformance.profile import running
from mmsim.conformance.recorded.asking import Rule
from mmsim.conformance.recorded.log import Began, Call, Line, Log, read
from mmsim.conformance.recorded.replay import Difference, Replayer
from mmsim.errors import UserError
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy


@attrs.frozen
class Result:
    """What came of a log."""

    path: str
    release: str
    strategy: str
    lines: int
    calls: int
    equal: int
    followed: int
    """Calls that changed what processes have, with nothing to compare."""
    compared_by_name: tuple[tuple[str, int], ...]
    differences: tuple[Difference, ...]
    outside: tuple[tuple[str, int], ...]
    """By name, calls of which the model has neither the call nor the file or memory that they are about."""
    not_compared: tuple[tuple[str, int], ...]
    """By reason, calls about the model's own files that could not be asked."""
    rules: tuple[tuple[Rule, int], ...]
    unreadable: tuple[Line, ...]
    endless: tuple[Began, ...]

    @property
    def compared(self) -> int:
        """How many answers were."""
        return self.equal + len(self.differences)


def conform_log(path: Path, strategy: Strategy, release: Release | None = None) -> Result:
    """Replay one log.  Raises UserError where there is none, or nothing in it is about what the model has."""
    release = release or running()
    result = replay(read(path), strategy, release, str(path))
    if not result.compared and not result.unreadable:
        msg = (
            f"{path}: none of its {result.calls:,} system calls is about a memfd, so there is nothing to compare; "
            "record a program that makes some, from its start and without -e trace"
        )
        raise UserError(msg)
    return result


def replay(log: Log, strategy: Strategy, release: Release, path: str = "") -> Result:
    """The whole log."""
    replayer = Replayer(log, strategy, release)
    for event in log.events:
        replayer.event(event)
    return Result(
        path,
        release.name,
        strategy.name,
        log.lines,
        sum(isinstance(event, Call) for event in log.events),
        sum(replayer.equal.values()),
        replayer.followed,
        _counted(replayer.equal + Counter(difference.name for difference in replayer.differences)),
        tuple(replayer.differences),
        _counted(replayer.outside),
        _counted(replayer.not_compared),
        tuple((rule, replayer.rules[rule]) for rule in Rule if replayer.rules[rule]),
        tuple(sorted((*log.unreadable, *replayer.unreadable), key=_number)),
        log.endless,
    )


def _counted(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=_most_first))


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _number(line: Line) -> int:
    return line.number
