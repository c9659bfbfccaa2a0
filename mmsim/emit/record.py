"""What each thread of a scenario asked of the kernel, and what it was answered, in one run of the model.

The scenario's own functions are wrapped, not changed: a wrapper hands them a `Recorder` in place of their `sys`, which
passes every call on.  It adds no step, so a schedule of the scenario is one of the wrapped scenario too.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import re
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from mmsim.scenario import Process, Scenario, ThreadFunction
from mmsim.syscalls import Syscalls

ASSIGNED = re.compile(r"\s*(?P<name>[a-z]\w*)(?:, (?P<second>[a-z]\w*))? = await sys\.")
SETUP = "setup"

_PARAMETERS = {
    name: tuple(inspect.signature(value).parameters.values())[1:]
    for name, value in vars(Syscalls).items()
    if inspect.iscoroutinefunction(value)
}


@attrs.define(eq=False)
class Record:
    """One system call.  `answered` is False while it is under way, or for ever if nothing wakes it."""

    thread: str
    verb: str
    arguments: dict[str, Any]
    """Every parameter of `Syscalls.verb` and its value."""
    named: tuple[str, ...]
    """The variables that the scenario assigns the answer to; none where it does something else with it."""
    answer: Any = None
    answered: bool = False

    def asked(self) -> tuple[Any, ...]:
        """What tells this call from another one of its thread, whichever run it is of."""
        plain = {key: value for key, value in self.arguments.items() if isinstance(value, int | bytes | str)}
        plain_answer = self.answer if isinstance(self.answer, int | bytes | tuple | None) else "an object"
        return self.verb, tuple(plain.items()), plain_answer, self.answered


class Log:
    """Every call of a run, in the order in which they began."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def of(self, thread: str) -> list[Record]:
        """The calls of one thread."""
        return [record for record in self.records if record.thread == thread]


class Recorder:
    """A thread's `Syscalls`: whoever it wraps answers."""

    def __init__(self, inner: Any, thread: str, log: Log) -> None:
        self.index = inner.index
        self._inner = inner
        self._thread = thread
        self._log = log

    def __getattr__(self, verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        inner = getattr(self._inner, verb)

        def call(*positional: Any, **named: Any) -> Coroutine[Any, Any, Any]:
            here = inspect.currentframe()
            record = Record(self._thread, verb, _bound(verb, positional, named), _assigned(here and here.f_back))
            return _performed(record, inner(*positional, **named), self._log)

        return call


async def _performed(record: Record, call: Coroutine[Any, Any, Any], log: Log) -> Any:
    log.records.append(record)
    record.answer = await call
    record.answered = True
    return record.answer


def _bound(verb: str, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    bound = inspect.Signature(_PARAMETERS[verb]).bind(*positional, **named)
    bound.apply_defaults()
    return dict(bound.arguments)


def _assigned(caller: Any) -> tuple[str, ...]:
    if caller is None:
        return ()
    match = ASSIGNED.match(linecache.getline(caller.f_code.co_filename, caller.f_lineno))
    return tuple(filter(None, match.groups())) if match else ()


def recorded(scenario: Scenario, log: Log) -> Scenario:
    """The scenario, with every call of its functions put down in `log`."""

    def wrap(function: ThreadFunction, name: Callable[[Any], str]) -> ThreadFunction:
        @functools.wraps(function)
        async def wrapped(sys: Any, *shared: Any) -> object:
            return await function(Recorder(sys, name(sys), log), *shared)

        return wrapped

    def named(name: str) -> Callable[[Any], str]:
        return lambda _: name

    def member(item: ThreadFunction | Process) -> ThreadFunction | Process:
        if not isinstance(item, Process):
            return wrap(item, named(item.__name__))
        wrapped = [wrap(thread, _named_by_copy(item, thread)) for thread in item.threads]
        return attrs.evolve(item, threads=tuple(wrapped))

    return attrs.evolve(
        scenario,
        setup=wrap(scenario.setup, named(SETUP)),
        threads=tuple(member(item) for item in scenario.threads),
        children=tuple(wrap(child, named(child.__name__)) for child in scenario.children),
    )


def _named_by_copy(item: Process, thread: ThreadFunction) -> Callable[[Any], str]:
    return lambda sys: item.thread_name(thread, sys.index)
