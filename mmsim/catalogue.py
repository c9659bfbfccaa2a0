"""The catalogue: finds scenarios and strategies by name or by file, and says in one sentence what is wrong with one.

A scenario file is somebody's source text, and most of it is written by hand.  Everything that can be judged without
running a thread is judged here, before an engine sees it; every mistake is a `UserError` that names the file, the
line and the nearest right word.

Not for: running anything but the file's own top level, and for saying whether a strategy is any good.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.resources
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, TypeVar

import attrs

from mmsim.errors import UserError
from mmsim.kernel.direct_io import TRANSPORTS
from mmsim.kernel.releases import RELEASES
from mmsim.scenario import QUESTIONS, Process, Scenario, ThreadFunction
from mmsim.syscalls import PAGE_SIZE, Device, Mount
from mmsim.verdict import HOLDS, OTHERS, UNASKED, VIOLATED, Expected

K = TypeVar("K")

MOUNT_KINDS: Final = ("tmpfs", "ext4")


@attrs.frozen
class LoadedScenario:
    """A scenario and where it came from."""

    name: str
    path: Path
    scenario: Scenario
    doc: str
    """The module's docstring, without its indentation."""
    source: str
    """The whole text of the file, for a hash of what was judged."""

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.doc.partition("\n")[0]


def folder() -> Path:
    """Where the catalogue is: in the wheel beside this module, in a checkout beside the package."""
    shipped = Path(str(importlib.resources.files("mmsim"))) / "_scenarios"
    return shipped if shipped.is_dir() else Path(__file__).resolve().parent.parent / "scenarios"


def names() -> tuple[str, ...]:
    """Every scenario of the catalogue, sorted."""
    return tuple(sorted(path.stem for path in folder().glob("*.py") if not path.stem.startswith("_")))


def find(name_or_path: str, strategies: Collection[str] | None = None) -> LoadedScenario:
    """The scenario of that name, or the one in that file (anything with a slash in it, or that ends in `.py`).

    `strategies`, where given, are the names that its expectations may use.  Raises UserError.
    """
    if "/" in name_or_path or name_or_path.endswith(".py"):
        return load(Path(name_or_path), strategies)
    known = names()
    if name_or_path not in known:
        advice = suggestion(name_or_path, known, "`mmsim list scenarios` names them all")
        msg = f"no scenario is named {name_or_path!r}; {advice}"
        raise UserError(msg)
    return load(folder() / f"{name_or_path}.py", strategies)


def load(path: Path, strategies: Collection[str] | None = None) -> LoadedScenario:
    """The scenario in the file `path`, checked.  Raises UserError."""
    module, source = _import(path, "scenario file")
    if not hasattr(module, "scenario"):
        near = _nearest("scenario", [name for name in vars(module) if not name.startswith("_")])
        hint = f"; did you mean to call {near!r} so?" if near else "; its last statement is `scenario = Scenario(...)`"
        msg = f"{path} has no value named `scenario`{hint}"
        raise UserError(msg)
    scenario = module.scenario
    if not isinstance(scenario, Scenario):
        msg = f"{path}: `scenario` is {_a(scenario)}, not a Scenario; write `scenario = Scenario(setup=..., ...)`"
        raise UserError(msg)
    check(scenario, str(path), strategies)
    expect = {located(strategy, path.parent): verdict for strategy, verdict in scenario.expect.items()}
    scenario = attrs.evolve(scenario, expect=expect)
    return LoadedScenario(path.stem, path, scenario, inspect.cleandoc(module.__doc__ or ""), source)


def located(strategy: str, folder: Path) -> str:
    """What `FILE.py:NAME`, said in `folder`, is called in the working directory; a plain name is called so anywhere."""
    file, colon, name = strategy.rpartition(":")
    if not colon:
        return strategy
    path, here = (folder / file).resolve(), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{name}"


def resolve_strategy(text: str, known: Mapping[str, K]) -> K:
    """The strategy of that name, or the one that `FILE.py:NAME` says.  Raises UserError.

    What a file offers must be of the same kind as the strategies in `known`.
    """
    file, colon, name = text.rpartition(":")
    if text.endswith(".py") or (not colon and "/" in text):
        msg = f"{text!r} names a file but no strategy in it; write {text}:NAME"
        raise UserError(msg)
    if not colon:
        if text not in known:
            advice = suggestion(text, known, f"there are {', '.join(known)}; or write FILE.py:NAME")
            msg = f"no strategy is named {text!r}; {advice}"
            raise UserError(msg)
        return known[text]
    module, _ = _import(Path(file), "strategy file")
    kinds = tuple({type(strategy) for strategy in known.values()})
    offered = [key for key, value in vars(module).items() if not key.startswith("_") and isinstance(value, kinds)]
    if not hasattr(module, name):
        advice = suggestion(name, offered, f"it has {', '.join(offered) or 'no strategy at all'}")
        msg = f"{file} has nothing named {name!r}; {advice}"
        raise UserError(msg)
    found: K = getattr(module, name)
    if not isinstance(found, kinds):
        msg = f"{file}: {name!r} is {_a(found)}, not a strategy; make one with `attrs.evolve(base, name=..., ...)`"
        raise UserError(msg)
    return found


def suggestion(wrong: str, right: Iterable[str], otherwise: str) -> str:
    """`did you mean 'x'?`, or what else there is to say."""
    near = _nearest(wrong, right)
    return f"did you mean {near!r}?" if near else otherwise


def _nearest(wrong: str, right: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(wrong, list(right), n=1)), None)


# What can be said about a scenario before it runs.


def thread_names(scenario: Scenario) -> tuple[str, ...]:
    """The name of every task that may run, in the order of the file: `user[0]`, `user[1]` where there are copies."""
    named = [name for member in scenario.threads for name in _names_of(member)]
    return (*named, *(child.__name__ for child in scenario.children))


def _names_of(member: ThreadFunction | Process) -> list[str]:
    if not isinstance(member, Process):
        return [member.__name__]
    return [member.thread_name(thread, index) for index in range(member.copies) for thread in member.threads]


def check(scenario: Scenario, where: str, strategies: Collection[str] | None = None) -> None:
    """Raise UserError, a sentence that begins with the place, unless the scenario is well formed."""
    _check_shape(scenario, where)
    _check_threads(scenario, where)
    for asked in ("always", "sometimes", "needless"):
        for value in getattr(scenario, asked):
            _check_property(value, asked, scenario, where)
    _check_verdicts(scenario.expect, "expect", "names of strategies", where)
    for strategy in scenario.expect:
        in_a_file = strategy.rpartition(":")[0].endswith(".py")
        if strategies is not None and not in_a_file and strategy not in (*strategies, OTHERS):
            advice = suggestion(strategy, strategies, f"there are {', '.join(sorted(strategies))}")
            msg = f"{where}: `expect` has a verdict for {strategy!r}, which is no strategy; {advice}"
            raise UserError(msg)
    _check_history(scenario, where)
    _check_release(scenario.release, "release", where)
    _check_mounts(scenario, where)
    if scenario.question and scenario.question not in QUESTIONS:
        advice = suggestion(str(scenario.question), QUESTIONS, f"there are {', '.join(map(repr, QUESTIONS))}")
        msg = f"{where}: `question` is {scenario.question!r}, which is no chapter of the catalogue; {advice}"
        raise UserError(msg)


def _check_verdicts(verdicts: Any, field: str, keys: str, where: str) -> None:
    if not isinstance(verdicts, Mapping):
        msg = f"{where}: `{field}` is {_a(verdicts)}; it maps {keys} to HOLDS or VIOLATED"
        raise UserError(msg)
    for key, verdict in verdicts.items():
        if not isinstance(key, str):
            msg = f"{where}: `{field}` has {_a(key)} as a key; it maps {keys} to HOLDS or VIOLATED"
            raise UserError(msg)
        unasked = verdict is UNASKED and field == "expect"
        if not unasked and not isinstance(verdict, Expected):
            msg = f"{where}: `{field}` has {verdict!r} for {key!r}; write HOLDS or VIOLATED, from mmsim.verdict"
            raise UserError(msg)


def _check_history(scenario: Scenario, where: str) -> None:
    _check_verdicts(scenario.history, "history", "names of releases", where)
    for release in scenario.history:
        _check_release(release, "history", where)
    missing = [verdict.name for verdict in (VIOLATED, HOLDS) if verdict not in scenario.history.values()]
    if scenario.history and missing:
        msg = (
            f"{where}: `history` has no {missing[0]}; it says from which release on there is a bug, and since when none"
        )
        raise UserError(msg)


def _check_release(release: Any, field: str, where: str) -> None:
    known = [each.name for each in RELEASES]
    if release not in known:
        advice = suggestion(str(release), known, "`mmsim list releases` names them all")
        msg = f"{where}: `{field}` has {release!r}, which is no release that mmsim knows; {advice}"
        raise UserError(msg)


def _check_mounts(scenario: Scenario, where: str) -> None:
    names = []
    for mount in scenario.mounts:
        if not isinstance(mount, Mount):
            msg = f"{where}: `mounts` has {_a(mount)}, not a Mount; write `DISK = Mount('disk', 'ext4')`"
            raise UserError(msg)
        if mount.kind not in MOUNT_KINDS:
            advice = suggestion(str(mount.kind), MOUNT_KINDS, f"there are {', '.join(MOUNT_KINDS)}")
            msg = (
                f"{where}: the mount {mount.name!r} is of the kind {mount.kind!r}, which mmsim does not know; {advice}"
            )
            raise UserError(msg)
        if mount.name in names:
            msg = f"{where}: `mounts` has two file systems named {mount.name!r}; rename one"
            raise UserError(msg)
        names.append(mount.name)


def _check_shape(scenario: Scenario, where: str) -> None:
    for field in ("threads", "children", "devices", "always", "sometimes", "needless", "mounts"):
        value = getattr(scenario, field)
        if not isinstance(value, tuple):
            msg = f"{where}: `{field}` is {_a(value)}, not a tuple; with one member it is written `{field}=(one,)`"
            raise UserError(msg)
    for field in ("shmem_huge", "evicts"):
        value = getattr(scenario, field)
        if type(value) is not bool:
            msg = f"{where}: `{field}` is {value!r}; it is True or False"
            raise UserError(msg)
    words = scenario.words_per_page
    if type(words) is not int or not 0 < words <= PAGE_SIZE or words & (words - 1):
        msg = f"{where}: `words_per_page` is {words!r}; it must be a power of two, at most {PAGE_SIZE}"
        raise UserError(msg)


def _check_threads(scenario: Scenario, where: str) -> None:
    if not scenario.threads:
        msg = f"{where}: `threads` is empty; a scenario has at least one thread"
        raise UserError(msg)
    _check_coroutine_function(scenario.setup, "setup", "sys", where)
    seen: dict[str, str] = {}
    for value, role in _tasks(scenario, where):
        _check_coroutine_function(value, role, "sys, shared", where)
        _check_name(value.__name__, f"{_place(value, where)}: the {role}", seen)
    for device in _devices(scenario):
        if not isinstance(device, Device):
            msg = f"{where}: `devices` has {_a(device)}, not a Device; write `SLOW = Device('slow')`"
            raise UserError(msg)
    for device in dict.fromkeys(_devices(scenario)):
        _check_name(device.name, f"{where}: the device", seen)
        if device.transport not in TRANSPORTS:
            known = suggestion(device.transport, TRANSPORTS, f"known are {', '.join(TRANSPORTS)}")
            msg = (
                f"{where}: the device {device.name!r} has the transport {device.transport!r}, which is unknown; {known}"
            )
            raise UserError(msg)


def _tasks(scenario: Scenario, where: str) -> Iterable[tuple[Any, str]]:
    for member in scenario.threads:
        if isinstance(member, Process):
            if type(member.copies) is not int or member.copies < 1 or not member.threads:
                msg = f"{where}: a process has {member.copies!r} copies of {len(member.threads)} threads; one at least"
                raise UserError(msg)
            yield from ((thread, "thread") for thread in member.threads)
        else:
            yield member, "thread"
    yield from ((child, "child") for child in scenario.children)


def _devices(scenario: Scenario) -> list[Any]:
    of_copies = [device for member in scenario.threads if isinstance(member, Process) for device in member.devices]
    return [*scenario.devices, *of_copies]


def _check_coroutine_function(value: Any, role: str, parameters: str, where: str) -> None:
    if inspect.iscoroutine(value):
        value.close()  # or Python warns of a coroutine never awaited, which is not the mistake
        msg = f"{where}: the {role} {value.__name__!r} has been called already; give the function itself"
        raise UserError(msg)
    if not inspect.isfunction(value):
        msg = f"{where}: the {role} is {_a(value)}, not an `async def` function"
        raise UserError(msg)
    name = value.__name__
    if not inspect.iscoroutinefunction(value):
        msg = f"{_place(value, where)}: the {role} {name!r} is not an `async def` function"
        raise UserError(msg)
    try:
        inspect.signature(value).bind(*parameters.split(", "))
    except TypeError:
        wanted = f"`async def {name}({parameters})`"
        msg = f"{_place(value, where)}: the {role} {name!r} cannot be called as it will be; write {wanted}"
        raise UserError(msg) from None


def _check_name(name: str, what: str, seen: dict[str, str]) -> None:
    if name[-1:].isdigit():
        msg = (
            f"{what} {name!r} has a name that ends in a digit, which a schedule could not tell from a count; rename it"
        )
        raise UserError(msg)
    if name in seen:
        msg = f"{what} {name!r} has a name that is taken already by {seen[name]}; threads alike are `copies(n, ...)`"
        raise UserError(msg)
    seen[name] = what.rpartition(": ")[2]


def _check_property(value: Any, asked: str, scenario: Scenario, where: str) -> None:
    if not inspect.isfunction(value):
        msg = f"{where}: `{asked}` has {_a(value)}; a property is a plain function of what the threads returned"
        raise UserError(msg)
    place, name = _place(value, where), value.__name__
    if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        msg = f"{place}: the property {name!r} is not a plain function; use `def`, it only judges outcomes"
        raise UserError(msg)
    if not name.isidentifier():
        msg = f"{place}: a property in `{asked}` is a lambda; use `def`, for a property's name is its message"
        raise UserError(msg)
    parameters = inspect.signature(value).parameters.values()
    if not parameters:
        msg = f"{place}: the property {name!r} has no parameters; name one for each thread whose outcome it judges"
        raise UserError(msg)
    known = thread_names(scenario)
    for parameter in parameters:
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            msg = f"{place}: the property {name!r} takes `{parameter}`; its parameters are plain names of threads"
            raise UserError(msg)
        if f"{parameter.name}[0]" in known:
            msg = f"{place}: the property {name!r} asks for {parameter.name!r}, which has copies; judge another thread"
            raise UserError(msg)
        if parameter.name not in known:
            advice = suggestion(parameter.name, known, f"there are {', '.join(known)}")
            msg = f"{place}: the property {name!r} asks for {parameter.name!r}, which is no thread; {advice}"
            raise UserError(msg)


def _place(function: Any, where: str) -> str:
    if isinstance(function, FunctionType):
        return f"{function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
    return where


def _a(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


# Importing by path.


def _import(path: Path, what: str) -> tuple[ModuleType, str]:
    """The module in the file, and its text.  The file's folder is importable while it runs, as it is for a script."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = _nearest(path.name, [other.name for other in path.parent.glob("*.py")])
        msg = f"there is no {what} {str(path)!r}" + (f"; did you mean {str(path.with_name(near))!r}?" if near else "")
        raise UserError(msg) from None
    except OSError as error:
        msg = f"the {what} {str(path)!r} cannot be read: {error.strerror}"
        raise UserError(msg) from None
    absolute = path.resolve()
    # A name of its own for each file, so that two files of one name do not replace each other.
    name = f"mmsim_user_{hashlib.sha256(str(absolute).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, absolute)
    if spec is None:
        msg = f"the {what} {str(path)!r} is not a Python file"
        raise UserError(msg)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # where attrs, dataclasses and pickle look for a class's home
    sys.path.append(str(absolute.parent))
    try:
        source = importlib.util.decode_source(raw)
        exec(compile(raw, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102  running it is the purpose
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        msg = f"{_failed_at(path, error)}: the {what} does not import: {_said(error)}"
        raise UserError(msg) from error
    finally:
        sys.path.remove(str(absolute.parent))
    return module, source


def _failed_at(path: Path, error: BaseException) -> str:
    """The file and the line in it that did not work, whoever raised the error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno
    else:
        inside = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = inside[-1] if inside else None
    return str(path) if line is None else f"{path}, line {line}"


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
