"""From a test and a schedule to the text of a program, or to a sentence that says why there is none."""

from __future__ import annotations

import re
import shlex
from typing import Final

from mmsim.check import Bounds, check, execute
from mmsim.check.judge import Test
from mmsim.conformance.run import refuse_model_only
from mmsim.emit.order import Ordered, default_order, ordered
from mmsim.emit.program import program
from mmsim.emit.record import SETUP
from mmsim.errors import UserError
from mmsim.scenario import Process
from mmsim.verdict import Expected, Schedule, Undecided, Violated

SEARCH_S: Final = 60.0
"""How long a scenario that says nothing of Linux's own design is searched before it is refused."""
TRANSPORTS: Final = ("block", "fuse")
"""What a FUSE file can stand for: the model gives both the same outcomes."""
NOT_IN_SETUP: Final = ("wait_for", "fork", "exit")
"""Calls that need somebody else, and in `setup` there is nobody yet."""
NO_PROGRAM: Final = "of what Linux itself gets wrong no program is written"
STATE_IT: Final = "a scenario whose `expect` has a verdict for wait_for_pins is not searched first"
UNFAITHFUL: Final = (
    "The schedule that was asked for switches inside of system calls, which no program can make happen; this is the"
    " nearest order of whole calls, and in the model every answer is the same."
)


def emit(test: Test, schedule: Schedule | None = None) -> str:
    """The C program that performs `test.scenario` in the order of `schedule`, or one call after the other.

    UserError: the scenario is never to be run on a real kernel, the schedule does not fit or asks for what no program
    can bring about, or something in the scenario cannot be written as C.
    """
    refuse(test)
    order = default_order(test) if schedule is None else ordered(test, schedule)
    refuse_order(test, order)
    command = f"mmsim emit-c {shlex.quote(_word(test.words[0]))} --release {test.release.name}"
    if schedule is not None:
        command += f' --schedule "{schedule}"'
    return program(test, order, command, () if order.faithful else (UNFAITHFUL,))


def refuse(test: Test) -> None:
    """Raise UserError for a scenario of which no program is written.

    As `conform`: what is for the model only.  Beyond that whatever Linux's own design gets wrong on this release, for
    a program that shows it would be one that exploits it; a scenario that does not say is searched.
    """
    scenario = test.scenario
    refuse_model_only(scenario)
    if scenario.history:
        raise UserError("this scenario is about a bug of the past, of which no program is written")
    design, release = test.strategy.name, test.release.name
    verdict = None if test.expected is not None else check(test, bounds=Bounds(max_seconds=SEARCH_S))
    if test.expected is Expected.VIOLATED or isinstance(verdict, Violated):
        msg = f"{design} violates this scenario on {release}, and {NO_PROGRAM}"
        raise UserError(msg)
    if isinstance(verdict, Undecided):
        msg = f"whether {design} violates this scenario on {release} is undecided ({verdict.reason}); {STATE_IT}"
        raise UserError(msg)
    if scenario.shmem_huge:
        raise UserError("huge pages in shmem are a setting of the whole machine, which a program must not change")
    devices = [*scenario.devices]
    for item in scenario.threads:
        devices += item.devices if isinstance(item, Process) else ()
    for device in devices:
        if device.transport not in TRANSPORTS:
            able = " or ".join(map(repr, TRANSPORTS))
            msg = f"the device {device.name!r} has the transport {device.transport!r}; a program can only bring {able}"
            raise UserError(msg)


def refuse_order(test: Test, order: Ordered) -> None:
    """Raise UserError for an order that shows something wrong, or that a program cannot carry out to its end."""
    try:
        violation = execute(test, order.schedule).violation
    except UserError as broken:  # a property broke in its midst, and nothing moves after that
        violation = (str(broken), "")
    if violation is not None:
        msg = f"this order breaks a property under {test.strategy.name} ({violation[0]}), and {NO_PROGRAM}"
        raise UserError(msg)
    for record in order.log.records:
        if record.thread == SETUP and record.verb in NOT_IN_SETUP:
            msg = f"setup calls {record.verb}(), for which a program needs another thread; move it into one"
            raise UserError(msg)
        if not record.answered:
            msg = f"{record.thread} waits for ever in {record.verb}() in this order, and a program has to end"
            raise UserError(msg)


def _word(scenario: str) -> str:
    """The scenario as a command names it, without the folders of this machine."""
    return re.sub(r".*/", "", scenario)
