"""Calls that make, change and end processes.  Nothing of their answers is compared: a pid is nobody's to model."""

from __future__ import annotations

from typing import Final

from mmsim.conformance.recorded.asking import Ask, NotModelled, followed
from mmsim.conformance.recorded.log import Call
from mmsim.conformance.recorded.machine import Machine
from mmsim.conformance.recorded.syntax import CONSTANTS, Unreadable, fields, number

VM, FILES, THREAD, NEWPID = (CONSTANTS[f"CLONE_{name}"] for name in ("VM", "FILES", "THREAD", "NEWPID"))
VFORK: Final = CONSTANTS["CLONE_VFORK"] | VM


def clone_flags(name: str, arguments: tuple[str, ...]) -> int:
    """What parent and child share.  Raises Unreadable where the log does not show it (clone3() as raw numbers)."""
    if name in {"fork", "vfork"}:
        return VFORK if name == "vfork" else 0
    if name == "clone3":
        told = fields(arguments[0].partition(" => ")[0]).get("flags") if arguments else None
        if told is None:
            raise Unreadable("it does not show what clone3() shares; record clone3 without -e raw")
        return number(told)
    named = [argument.removeprefix("flags=") for argument in arguments if argument.startswith("flags=")]
    if not named and (not arguments or "=" in arguments[0]):
        raise Unreadable("it does not show what clone() shares")
    return number(named[0] if named else arguments[0])


def clone(machine: Machine, flags: int, parent: int, child: int, line: int) -> None:
    """The child is there."""
    shared = {"vm": bool(flags & VM), "files": bool(flags & FILES), "thread": bool(flags & THREAD)}
    machine.clone(parent, child, line, namespace=bool(flags & NEWPID), **shared)


def execve(machine: Machine, call: Call) -> Ask:
    """A new program."""
    if call.value != 0:
        raise NotModelled
    return followed(call, lambda: machine.execute(call.pid, call.line))


def exit_group(machine: Machine, call: Call) -> Ask:
    """The end is near: from here on memory and descriptors may go, and at `+++ exited` they are gone."""
    group = machine.state.groups[call.pid]
    together = {pid for pid, of in machine.state.groups.items() if of == group}
    machine.state.exiting |= together if call.name == "exit_group" else {call.pid}
    raise NotModelled


def unshare(machine: Machine, call: Call) -> Ask:
    """unshare(CLONE_FILES)."""
    if call.value != 0 or not number(call.arguments[0]) & FILES:
        raise NotModelled
    return followed(call, lambda: machine.unshare_files(call.pid, call.line))


HANDLERS: Final = {
    "execve": execve,
    "execveat": execve,
    "exit": exit_group,
    "exit_group": exit_group,
    "unshare": unshare,
}
