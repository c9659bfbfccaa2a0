"""A log of strace as events: calls with their answers, where each began and ended, signals, and ends of processes.

A call that others overlapped is printed in two halves (`<unfinished ...>`, `<... NAME resumed>`), which are one `Call`
here.  Whatever cannot be read is kept, with its line number and the reason: nothing is passed over in silence.

Read: `-f` with either form of pid, `-t`, `-tt`, `-ttt`, `-r`, `-T`, `-i`, `-n`, `-k`, `-y`, `-yy`, `-Y`, `-x`, `-v`,
`-X raw`, `-e raw=...`; and each of the files of `-ff` for itself.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from mmsim.conformance.recorded import syntax
from mmsim.conformance.recorded.syntax import Unreadable, annotated, skip_annotation, split
from mmsim.errors import UserError

PREFIX: Final = re.compile(
    r"\s*(?:\[pid\s+(?P<shown>\d+)(?:<[^>]*>)?\]\s+|(?P<first>\d+)(?:<[^>]*>)?\s+(?!$))?"
    r"(?:(?:\d\d:\d\d:\d\d(?:\.\d+)?|\d+\.\d+)\s+)?(?:\(\+\s*\d+\.\d+\)\s+)?"
    r"(?:\[\s*\d+\]\s+)?(?:\[[0-9a-f?]{8,16}\]\s+)?"
)
CALL: Final = re.compile(r"(?P<name>[a-z_][a-z0-9_]*)\(")
RESUMED: Final = re.compile(r"<\.\.\. (?P<name>[a-z_][a-z0-9_]*) resumed> ?")
RESULT: Final = re.compile(r"\s*=\s+(?P<value>\?|-?(?:0[xX][0-9a-fA-F]+|\d+))")
ERROR: Final = re.compile(r"\s+(?P<name>E[A-Z0-9]+)\b")
UNFINISHED: Final = "<unfinished ...>"
SIGNAL: Final = re.compile(r"--- .* ---$")
EXIT: Final = re.compile(r"\+\+\+ (?:exited with|killed by|superseded by) .*\+\+\+$")
ATTACHED: Final = re.compile(r"strace: Process (?P<pid>\d+) (?:attached|detached)")
STACK: Final = re.compile(r"\s+> |\s*$")
FORKS: Final = ("clone", "clone3", "fork", "vfork")


@attrs.frozen
class Call:
    """One system call.  `value` is what it answered, an errno as a negative number; None where it is not known."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    value: int | None
    began: int
    """The number of the line on which it begins, and of that on which it ends; the same unless others overlapped it."""
    line: int
    text: str
    """The call as it is printed, joined."""


@attrs.frozen
class Began:
    """The first half of a call that others overlap, as far as it was printed."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    line: int


@attrs.frozen
class Ended:
    """A process or thread is gone."""

    pid: int
    line: int


Event = Call | Began | Ended


@attrs.frozen
class Line:
    """A line that cannot be read."""

    number: int
    text: str
    reason: str


@attrs.frozen
class Log:
    """All of it."""

    events: tuple[Event, ...]
    unreadable: tuple[Line, ...]
    endless: tuple[Began, ...]
    """Calls whose end is not in the log."""
    signals: int
    lines: int


def read(path: Path) -> Log:
    """Read a log.  Raises UserError where there is none: no such file, an empty one, one in which nothing is a call."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        msg = f"{path}: {error.strerror}; name a file that `strace -f -o FILE PROGRAM` has written"
        raise UserError(msg) from None
    if not text.strip():
        msg = f"{path} is empty; record a program with `strace -f -o {path} PROGRAM`"
        raise UserError(msg)
    log = parsed(text.split("\n"))
    if not any(isinstance(event, Call) for event in log.events):
        msg = f"{path}: no line is a system call as strace prints it; record one with `strace -f -o FILE PROGRAM`"
        raise UserError(msg)
    return log


class _Parser:
    def __init__(self, pids: Iterator[int]) -> None:
        self.events: list[Event] = []
        self.unreadable: list[Line] = []
        self.signals = 0
        self.open: dict[int, tuple[Began, str]] = {}
        self._pids = pids

    def line(self, number: int, raw: str) -> None:
        if STACK.match(raw) or ATTACHED.match(raw):
            return
        pid = next(self._pids)
        text = _body(raw)
        if SIGNAL.match(text):
            self.signals += 1
        elif EXIT.match(text):
            self.events.append(Ended(pid, number))
        elif resumed := RESUMED.match(text):
            self._resumed(pid, number, resumed["name"], text[resumed.end() :])
        elif call := CALL.match(text):
            if text.rstrip().endswith(UNFINISHED):
                self._unfinished(pid, number, call["name"], text)
            else:
                self.events.append(_call(pid, number, number, call["name"], text))
        else:
            raise Unreadable("no system call, signal or exit")

    def _unfinished(self, pid: int, number: int, name: str, text: str) -> None:
        head = text.rstrip().removesuffix(UNFINISHED)
        # Only what is complete counts: the last argument may go on in the other half.
        arguments = split(f"{head.rstrip().rstrip(',')})", len(name) + 1)[0]
        began = Began(pid, name, arguments, number)
        if pid in self.open:
            told = f"{self.open[pid][0].name}() of line {self.open[pid][0].line} has not ended"
            raise Unreadable(told)
        self.open[pid] = began, head
        self.events.append(began)

    def _resumed(self, pid: int, number: int, name: str, rest: str) -> None:
        began, head = self.open.get(pid, (None, ""))
        if began is None or began.name != name:
            msg = f"{name}() of {pid or 'this process'} has no beginning"
            raise Unreadable(msg)
        del self.open[pid]
        self.events.append(_call(pid, began.line, number, name, head + rest.replace(f"{UNFINISHED})", ")")))


def parsed(lines: Iterable[str]) -> Log:
    """The events of these lines."""
    numbered = list(_joined(lines))
    while numbered and not numbered[-1][1].strip():
        numbered.pop()
    parser = _Parser(_pids([line for _, line in numbered if not (STACK.match(line) or ATTACHED.match(line))], numbered))
    for number, line in numbered:
        try:
            parser.line(number, line)
        except Unreadable as error:
            parser.unreadable.append(Line(number, line, str(error)))
    endless = tuple(began for began, _ in parser.open.values())
    return Log(tuple(parser.events), tuple(parser.unreadable), endless, parser.signals, len(numbered))


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Each line with its number.  On a terminal strace announces a process in the middle of the call that made it."""
    head = ""
    first = 0
    for number, raw in enumerate(lines, 1):
        line = head + raw.rstrip("\r")
        first = first if head else number
        announced = ATTACHED.search(line)
        if announced and announced.start() and announced.end() == len(line):
            yield number, announced[0]
            head = line[: announced.start()]
            continue
        yield first, line
        head = ""
    if head:
        yield first, head


def _body(line: str) -> str:
    match = PREFIX.match(line)
    return line[match.end() :].strip() if match else line.strip()


def _call(pid: int, began: int, line: int, name: str, text: str) -> Call:
    arguments, end = split(text, len(name) + 1)
    result = RESULT.match(text, end + 1)
    if result is None:
        raise Unreadable("the call has no result")
    value = None if result["value"] == "?" else syntax.number(result["value"])
    at = result.end()
    if at < len(text) and text[at] == "<" and annotated(text, at):
        at = skip_annotation(text, at)
    error = ERROR.match(text, at)
    if value is not None and error and value < 0:
        known = getattr(errno, error["name"], None)
        if known is None:
            msg = f"{error['name']} is no errno that is known"
            raise Unreadable(msg)
        value = -known
    return Call(pid, name, arguments, value, began, line, text[: end + 1])


def _pids(lines: list[str], numbered: list[tuple[int, str]]) -> Iterator[int]:
    """The pid of each line.

    To a terminal strace prints `[pid N]` only while there are several processes: a line without is then of the first
    process, or of the only one that is left.
    """
    shown = [PREFIX.match(line) for line in lines]
    given = [int(match["shown"] or match["first"] or 0) if match else 0 for match in shown]
    bracketed = any(match and match["shown"] for match in shown)
    children = {int(match["pid"]) for _, line in numbered if (match := ATTACHED.match(line))}
    made = list(map(_child, lines))
    children.update(child for child in made if child)
    first = next((pid for pid in given if pid and pid not in children), 0)
    alive = {first}
    for line, pid, child in zip(lines, given, made, strict=True):
        whose = pid
        if bracketed and not pid:
            whose = first if first in alive or len(alive) != 1 else next(iter(alive))
        alive.update({whose, child or whose})
        yield whose
        if EXIT.match(_body(line)):
            alive.discard(whose)


def _child(line: str) -> int:
    """The pid that a line says was made, or 0."""
    body = _body(line)
    name = RESUMED.match(body) or CALL.match(body)
    answer = re.search(r"=\s+(0x[0-9a-f]+|\d+)\s*(?:<[\d.]+>)?$", body)
    return syntax.number(answer[1]) if name and name["name"] in FORKS and answer else 0
