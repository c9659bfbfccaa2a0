"""What a call of the log becomes: a question to the model with the answer that Linux gave, or why it is none.

Where Linux's answer depends on what strace cannot see, the model follows it by one of the `Rule`s and by nothing else;
each use is counted in the report.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import attrs

from mmsim.conformance.recorded.log import Call
from mmsim.conformance.recorded.machine import Machine
from mmsim.kernel.types import File

RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EINTR, errno.EDQUOT, errno.ENOMEM})
"""What Linux ran out of, or was interrupted by, which the model never is."""


class Rule(Enum):
    """What is taken from the log, as the report says it."""

    ADDRESS = "the address of a mapping, which is Linux's choice"
    NUMBER = "the number of a descriptor"
    BYTES = "the bytes of a read, where somebody may have stored to the file or the log does not show what was written"
    DATA = "the data of a write, which the log does not show: as many zeros are written"
    LENGTH = "how much was spliced or sent, or read into a vector that the log does not show"
    HELD = "whether pages were still held by a call whose buffer or end the log does not show"
    ORDER = "the order of calls that overlapped"
    RESOURCES = "what Linux ran out of, or a signal that came in between"
    PERMISSION = "permissions of users"
    ROOM = "whether there is room above a mapping that is to grow in place"
    NAME = "a name that the log cuts short"
    POINTER = "a pointer that leads nowhere"


class NotModelled(Exception):
    """The call is no question to the model; the message says why, or nothing where it is not about the model at all."""

    def __init__(self, reason: str = "", rule: Rule | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rule = rule


@attrs.frozen(eq=False)
class Ask:
    """A call to be made in the model."""

    call: Call
    perform: Callable[[], Any]
    """Make it, and say what the model answers."""
    expected: Any
    """What Linux answered, in the same form.  None, as the answer is then, where there is nothing to compare."""
    rules: tuple[Rule, ...] = ()
    about_pins: bool = False
    """Whether the answer depends on who holds pages."""


def modelled(machine: Machine, call: Call, fd: int) -> File | None:
    """The file of a descriptor; None where it is closed, as the log knows, and Linux says so.  Raises NotModelled."""
    file = machine.file(call.pid, fd)
    if file is None:
        if call.value == -errno.EBADF and machine.known_closed(call.pid, fd):
            return None
        raise NotModelled
    if file.inode in machine.state.lost:
        raise NotModelled(machine.state.lost[file.inode])
    if call.value is not None and -call.value in RESOURCES:
        raise NotModelled(rule=Rule.RESOURCES)
    return file


def answered(call: Call) -> int:
    """Linux's answer.  Raises NotModelled where there is none: the call was interrupted, or the process ended in it."""
    if call.value is None:
        raise NotModelled("the call has no answer")
    return call.value


def installing(
    machine: Machine, call: Call, make: Callable[[int | None], Any], *, cloexec: bool, rules: tuple[Rule, ...] = ()
) -> Ask:
    """A call that answers with a descriptor; `make(number)` is the coroutine that gives it that number."""
    value = answered(call)

    def perform() -> Any:
        number = value if value >= 0 else None
        if number is not None and machine.file(call.pid, number) is not None:
            return f"descriptor {number} is still open"
        answer = machine.run(make(number))
        if number is not None and answer == number:
            machine.opened(call.pid, number, cloexec=cloexec)
        return answer

    return Ask(call, perform, value, (*rules, Rule.NUMBER) if value >= 0 else rules)


def followed(call: Call, effect: Callable[[], object]) -> Ask:
    """A call whose effect matters and whose answer does not."""

    def perform() -> None:
        effect()

    return Ask(call, perform, None)
