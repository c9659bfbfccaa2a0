"""An order of calls as a C program: who does what at which turn.

The program's first process is the device and the one that reports; it forks the process that `setup` runs in, which
starts the threads and the other processes.  So nobody who can be left waiting for the device is the device, and when
the first process ends, however it does, every I/O is aborted and every other process is killed.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from mmsim import syscalls
from mmsim.check.judge import Test
from mmsim.emit.calls import Writer, directory, image
from mmsim.emit.order import Event, Kind, Ordered
from mmsim.emit.pieces import chosen, pieces, words
from mmsim.emit.record import SETUP, Record
from mmsim.emit.values import size
from mmsim.emit.variables import Variables
from mmsim.machine import MAIN
from mmsim.scenario import Process, Scenario

HEADERS: Final = {
    "socketpair": "#include <sys/socket.h>",
    "sendfile": "#include <sys/sendfile.h>",
    "fchmod": "#include <sys/stat.h>",
}
RECENT: Final = (
    "F_SEAL_FUTURE_WRITE",
    "F_SEAL_EXEC",
    "MFD_NOEXEC_SEAL",
    "MFD_EXEC",
    "UFFDIO_REGISTER_MODE_MINOR",
)
"""Constants that the headers of a distribution may not have yet."""
NEEDS: Final = {
    "register_buffer": "need_io_uring();",
    "udmabuf_create": "need_udmabuf();",
    "move_pages": "need_second_node();",
    "compact_memory": 'need_file("/proc/sys/vm/compact_memory");',
    "scan_pages": 'need_file("/sys/kernel/mm/page_idle/bitmap");',
    "uffd_register": "uffd_open();",
}
"""What is asked before anything is done, by the verb that needs it."""
WIDTH: Final = 100


@attrs.define
class Body:
    """The statements of one function, and at which turn they begin."""

    lines: list[str] = attrs.field(factory=list)
    open: bool = False
    """Whether it is this function's turn where its text ends so far."""


class Cast:
    """The program's names for threads, processes and devices."""

    def __init__(self, scenario: Scenario) -> None:
        self.threads: dict[str, str] = {}
        """Each thread's name and its process's."""
        for item in scenario.threads:
            if not isinstance(item, Process):
                self.threads[item.__name__] = MAIN
                continue
            for number in range(item.copies):
                for thread in item.threads:
                    self.threads[item.thread_name(thread, number)] = item.thread_name(item.threads[0], number)
        self.children = tuple(child.__name__ for child in scenario.children)
        self.threads |= {child: child for child in self.children}
        self.processes = list(dict.fromkeys([MAIN, *self.threads.values()]))
        self.numbers = {process: _identifier(process).upper() for process in self.processes}
        self.devices = {
            process: {device.name: device.name for device in scenario.devices} for process in self.processes
        }
        for item in scenario.threads:
            if isinstance(item, Process):
                for number in range(item.copies):
                    process = item.thread_name(item.threads[0], number)
                    self.devices[process] |= {device.name: f"{process}.{device.name}" for device in item.devices}
        named = [name for own in self.devices.values() for name in own.values()]
        self.devices_used = [_identifier(name) for name in dict.fromkeys(named)]
        self.functions = {thread: _identifier(thread) for thread in self.threads}

    def device(self, thread: str, name: str) -> str:
        """What the program calls the device that this thread means."""
        return _identifier(self.devices[self.threads.get(thread, MAIN)][name])


def program(test: Test, ordered: Ordered, command: str, notes: tuple[str, ...] = ()) -> str:
    """The whole text.  UserError if it makes a call that is not written as C."""
    cast = Cast(test.scenario)
    reserved = {*(piece.name for piece in pieces()), *cast.functions.values()}
    reserved |= {*cast.numbers.values(), *vars(syscalls), SETUP}
    reserved |= set(cast.devices_used)
    threads = cast.threads | {SETUP: MAIN}
    first = Writer(Variables(threads, reserved), cast.numbers, cast.device)
    _bodies(cast, ordered, first)
    writer = Writer(Variables(threads, reserved, first.variables), cast.numbers, cast.device)
    bodies, turns = _bodies(cast, ordered, writer)
    functions = [_function(cast, name, bodies, writer) for name in _in_order(cast, bodies)]
    setup = _setup(cast, bodies, writer)
    answers = sum(line.startswith("expect") or " = expect_" in line for body in bodies.values() for line in body.lines)
    main = _main(cast, test.scenario, ordered, bodies[MAIN], turns, answers)
    statics = _statics(cast, writer)
    own = "\n\n".join([*functions, setup, main])
    includes, helpers = chosen(f"{statics}\n{own}")
    includes = sorted({*includes, *(header for word, header in HEADERS.items() if word in words(own))})
    enum = f"enum {{ {', '.join([*cast.numbers.values(), 'PROCESSES'])} }};"
    top = [f"{_comment(test, command, notes)}\n#define _GNU_SOURCE", "\n".join(includes), _recent(own)]
    sizes = f"{enum}\n\n#define LONGEST ({writer.longest})" if any("LONGEST" in piece for piece in helpers) else enum
    return "\n\n".join(filter(None, [*top, sizes, *helpers, statics, own])) + "\n"


def _bodies(cast: Cast, ordered: Ordered, writer: Writer) -> tuple[dict[str, Body], int]:
    """What each function does, and the number of the turn after the last.  `main` is the device and who sees exits."""
    bodies = {name: Body() for name in (SETUP, MAIN, *cast.threads)}
    turn = 0

    def enter(name: str) -> Body:
        nonlocal turn
        body = bodies[name]
        if not body.open:
            leave()
            turn += 1
            body.lines += [*([""] if body.lines else []), f"turn({turn});"]
            body.open = True
        return body

    def leave() -> None:
        for other in bodies.values():
            if other.open:
                other.lines.append("end_turn();")
                other.open = False

    setup = enter(SETUP)
    for record in ordered.log.of(SETUP):
        setup.lines += writer.lines(record)
    waiting: dict[int, tuple[Body, int]] = {}
    for number, event in enumerate(ordered.events):
        after = ordered.events[number + 1] if number + 1 < len(ordered.events) else None
        if event.kind is Kind.ANSWER:
            body = enter(MAIN)
            body.lines += [f'me = "{event.who}";', _answer(event, writer)]
            continue
        assert event.record is not None
        record = event.record
        at_once = after is not None and after.record is record
        if event.kind is Kind.BEGIN:
            lines = _exits(record, at_once=at_once) or writer.lines(record)
            if not lines:
                continue
            body = enter(event.who)
            if at_once and record.verb != "exit":
                body.lines += lines
                if record.verb == "submit_read_fixed":
                    device = cast.device(event.who, record.arguments["device"].name)
                    enter(MAIN).lines.append(f"device_has_request(&{device});")
                continue
            if record.verb != "exit":
                waiting[id(record)] = body, len(body.lines)
                body.lines.append("")  # until it is known at which turn it is back
            body.lines += lines
            body.open = False
        elif record.verb == "exit":
            body = enter(MAIN)
            number_ = cast.numbers[cast.threads[event.who]]
            body.lines.append(f'expect_exited("{event.who}", shared->pid[{number_}]);')
        elif id(record) in waiting:
            leave()
            turn += 1
            body, place = waiting.pop(id(record))
            body.lines[place] = f"others_go_on_until({turn});"
            body.open = True
    leave()
    return bodies, turn + 1


def _exits(record: Record, *, at_once: bool) -> list[str]:
    if record.verb != "exit":
        return []
    return ["end_turn();" if at_once else "others_go_on_until(-1);", "_exit(0);"]


def _answer(event: Event, writer: Writer) -> str:
    device, length = _identifier(event.who), size(event.length)
    if event.data is None:
        return f"expect({length}, device_takes(&{device}));"
    return f"expect({length}, device_answers(&{device}, {writer.filled(event.data)}));"


def _in_order(cast: Cast, bodies: dict[str, Body]) -> Iterator[str]:
    """Who is started before who starts him: children, further threads of a process, the others."""
    further = [name for name, process in cast.threads.items() if process not in {name, MAIN}]
    yield from (child for child in cast.children if bodies[child].lines)  # one that is never forked is not there
    yield from further
    yield from (name for name in cast.threads if name not in {*cast.children, *further})


def _function(cast: Cast, name: str, bodies: dict[str, Body], writer: Writer) -> str:
    first = [f'me = "{name}";']
    if cast.threads[name] == name:  # the first of a process starts its other threads, and has its userfaultfd
        others = [other for other, process in cast.threads.items() if process == name and other != name]
        first += _uffd(bodies, (name, *others)) + [f"start({cast.functions[other]});" for other in others]
    return _c_function(
        f"static void {cast.functions[name]}(void)", _locals(name, writer), [*first, *bodies[name].lines]
    )


def _uffd(bodies: dict[str, Body], threads: Iterable[str]) -> list[str]:
    used = any("uffd_" in line for thread in threads for line in bodies[thread].lines)
    return ["uffd_open();"] if used else []


def _setup(cast: Cast, bodies: dict[str, Body], writer: Writer) -> str:
    starts = [f"start({cast.functions[name]});" for name, process in cast.threads.items() if process == MAIN]
    forks = [
        f"start_process({cast.numbers[name]}, {cast.functions[name]});"
        for name, process in cast.threads.items()
        if name == process and name not in cast.children
    ]
    mapped = [each for each in writer.variables if each.thread == SETUP and each.kind == "address" and each.length]
    away: list[str] = []
    back: list[str] = []
    if forks:
        away = [f"madvise({each.name}, {size(each.length)}, MADV_DONTFORK);" for each in mapped if each.used]
    if away and cast.children:
        back = [line.replace("DONTFORK", "DOFORK") for line in away]
    devices = [f"close({name}.server);\t/* the first process is the device */" for name in cast.devices_used]
    opened = _uffd(bodies, (SETUP, *(name for name, process in cast.threads.items() if process == MAIN)))
    body = bodies[SETUP]
    lines = [*devices, *opened, *body.lines[:-1], *away, *forks, *back, *starts, body.lines[-1]]
    return _c_function("static void setup(void)", _locals(SETUP, writer), lines)


def _main(cast: Cast, scenario: Scenario, ordered: Ordered, body: Body, turns: int, answers: int) -> str:
    verbs = {record.verb for record in ordered.log.records}
    lines = ["begin();", *(line for verb, line in NEEDS.items() if verb in verbs)]
    if scenario.mounts or cast.devices_used:
        lines.append("private_mounts();")
    for mount in scenario.mounts:
        if mount.kind == "ext4":
            lines.append(f'mount_ext4("{directory(mount)}", "{image(mount)}");')
        else:
            lines.append(f'mount_tmpfs("{directory(mount)}");')
    lines += [f"device_open(&{name});" for name in cast.devices_used]
    if verbs & {"load", "store"}:
        lines.append("catch_faults();")
    lines += [f"plan({answers});", f"start_process(MAIN, {SETUP});", *([""] if body.lines else []), *body.lines]
    return _c_function("int main(void)", [], [*lines, "", f"turn({turns});", f"return end({answers});"])


def _locals(thread: str, writer: Writer) -> list[str]:
    own = [each for each in writer.variables if each.thread == thread and each.used and not each.is_static]
    declared = dict.fromkeys(f"{each.type}{each.name};" for each in own)
    return [*declared, *(f"int {name}[2];" for owner, name in writer.variables.pairs if owner == thread)]


def _statics(cast: Cast, writer: Writer) -> str:
    lines = [f'static struct device {name} = {{ .directory = "/tmp/{name}" }};' for name in cast.devices_used]
    lines += dict.fromkeys(
        f"static {each.type}{each.name};" for each in writer.variables if each.used and each.is_static
    )
    return "\n".join(lines)


def _c_function(head: str, declared: list[str], lines: list[str]) -> str:
    body = [*declared, *([""] if declared else []), *lines]
    return "\n".join([head, "{", *(f"\t{line}" if line else "" for line in body for line in _wrapped(line)), "}"])


def _wrapped(line: str, room: int = WIDTH - 8) -> list[str]:
    """A long statement goes on in the next line, deeper."""
    cut = line.rfind(", ", 0, room)
    if len(line) <= room or cut < 0:
        return [line]
    first, *rest = [line[: cut + 1], *_wrapped(line[cut + 2 :], WIDTH - 24)]
    return [first, *(f"\t\t{more.lstrip()}" for more in rest)]


def _comment(test: Test, command: str, notes: tuple[str, ...]) -> str:
    told = inspect.cleandoc(test.scenario.setup.__globals__.get("__doc__") or test.name)
    end = f"Made by `{command}`: the answers are those of the model of Linux {test.release.name}."
    text = [*told.splitlines(), "", *textwrap.wrap(end, 76, break_long_words=False, break_on_hyphens=False)]
    for note in notes:
        text += ["", *textwrap.wrap(note, 76)]
    lines = "\n".join(f" * {line}".rstrip() for line in text).replace("*/", "* /")
    return f"// SPDX-License-Identifier: GPL-2.0\n/*\n{lines}\n */"


def _recent(own: str) -> str:
    used = [name for name in RECENT if name in words(own)]
    return "\n\n".join(f"#ifndef {name}\n#define {name} {getattr(syscalls, name):#x}\n#endif" for name in used)


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()
