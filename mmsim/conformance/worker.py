"""The fresh process in which all of it happens: `python -m mmsim.conformance.worker`, started by `run`.

It reads pickled requests on standard input and writes pickled messages on standard output; end of file on standard
input tells it to stop.  Its mounts are in a namespace of its own, so nothing is left even if it is killed, and nothing
that it tests can harm the session that started it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from mmsim.conformance import native, needs, probe
from mmsim.conformance.controller import Controller
from mmsim.conformance.lane import LARGEST_LANE
from mmsim.conformance.mounts import LANES_WITH_DISKS
from mmsim.conformance.process import move_high
from mmsim.conformance.sequential import linux
from mmsim.conformance.stir import Timing, cast_of
from mmsim.errors import UserError
from mmsim.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PROGRESS_S = 0.1
SCENARIO_MODULE = "mmsim_conformed_scenario"
"""The name under which the worker knows a scenario file that is no importable module."""


@attrs.frozen
class Request:
    """What the session asks of a worker."""

    file: str
    module: str
    attribute: str
    path: tuple[str, ...]
    timing: Timing
    seeds: range
    scratch: str
    lanes: int
    seconds: float | None


@attrs.frozen
class ProbeRequest:
    """The session asks only what is possible here."""

    scratch: str


@attrs.frozen
class ProgramsRequest:
    """The session is going to ask for programs, a batch at a time (`mmsim.conformance.sequential`)."""

    scratch: str


def load(request: Request) -> Scenario:
    """Import the scenario's own file again, in this process."""
    sys.path[:] = request.path
    module = _importable(request) or _from_file(request.file)
    scenario = getattr(module, request.attribute, None)
    if not isinstance(scenario, Scenario):
        msg = f"{request.file} has no scenario named {request.attribute}"
        raise UserError(msg)
    return scenario


def _importable(request: Request) -> ModuleType | None:
    if "." not in request.module:
        return None
    try:
        spec = importlib.util.find_spec(request.module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).samefile(request.file):
        return None
    return importlib.import_module(request.module)


def _from_file(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(SCENARIO_MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCENARIO_MODULE] = module
    spec.loader.exec_module(module)
    return module


_memory = functools.cache(native.fault_safe_memory)
_enter_private_mounts = functools.cache(probe.enter_private_mounts)
"""Once for all the requests; what raised is tried again."""


def perform(request: Request, answers: BinaryIO, session: int) -> None:
    """Do what is asked, and say what came of it."""
    scenario = load(request)
    cast = cast_of(scenario)
    if len(cast.processes) > LARGEST_LANE:
        msg = f"on a real kernel a scenario may have {LARGEST_LANE} processes, and this one has {len(cast.processes)}"
        raise UserError(msg)
    memory = _memory()
    native.prctl(native.PR_SET_CHILD_SUBREAPER, 1)
    needs.require(scenario)
    if cast.devices or scenario.mounts:
        _enter_private_mounts()
    lanes = LANES_WITH_DISKS if any(mount.kind != "tmpfs" for mount in scenario.mounts) else request.lanes
    began = time.monotonic()
    told = 0.0
    controller = Controller(scenario, cast, memory, Path(request.scratch), min(lanes, request.lanes))

    def stop() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told > PROGRESS_S:
            told = now
            _tell(answers, "progress", controller.done)
            if select.select([session], [], [], 0)[0]:
                return True
        return request.seconds is not None and now - began > request.seconds

    try:
        controller.run((attrs.evolve(request.timing, seed=seed) for seed in request.seeds), stop)
    finally:
        controller.close()
    _tell(answers, "result", controller.observed, controller.stuck)


def _tell(answers: BinaryIO, *message: Any) -> None:
    data = pickle.dumps(message)
    answers.write(len(data).to_bytes(8, "little") + data)
    answers.flush()


def main() -> None:
    """Serve the requests of one session."""
    session_pid = os.getppid()
    session = move_high(os.dup(0))
    answers = os.fdopen(move_high(os.dup(1)), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # a scenario that prints does not disturb the messages
    os.close(nothing)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    request = _hear(session)
    if isinstance(request, Request):
        while True:
            _guarded(answers, functools.partial(_in_scratch, request, answers, session, session_pid))
            request = _hear(session)
    elif isinstance(request, ProbeRequest):
        scratch = Path(request.scratch)
        _guarded(answers, lambda: _tell(answers, "probe", probe.examine(scratch)))
    else:
        told = functools.partial(_tell, answers)
        serve = functools.partial(linux.serve, Path(request.scratch), functools.partial(_hear, session), told)
        _guarded(answers, serve)


def _guarded(answers: BinaryIO, act: Callable[[], None]) -> None:
    try:
        act()
    except native.Impossible as error:
        _tell(answers, "impossible", str(error))
    except UserError as error:
        _tell(answers, "error", str(error))


def _in_scratch(request: Request, answers: BinaryIO, session: int, session_pid: int) -> None:
    """Perform it in a directory that is gone afterwards, even if the session is too."""
    scratch = Path(request.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        perform(request, answers, session)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if os.getppid() != session_pid:
            with suppress(OSError):
                scratch.parent.rmdir()


def _hear(session: int) -> Any:
    length = int.from_bytes(_read(session, 8), "little")
    return pickle.loads(_read(session, length))  # noqa: S301  (from the session that started this process)


def _read(descriptor: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.read(descriptor, length - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


if __name__ == "__main__":
    main()
