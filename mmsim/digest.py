"""Digests of a question: everything that could change its answer goes in, so that an answer can be kept.

A strategy is its functions, the modules they stand in, and whatever those import from among the strategies or from the
same folder; a scenario likewise.  The model is every module that a verdict comes from, the searches included.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parent
NO_MODEL: Final = frozenset(
    {"__main__", "api", "batch", "cli", "conformance", "digest", "report", "session", "store", "strategies", "timed"}
)
"""Parts of mmsim that no verdict comes from; of `strategies` each answer depends on some."""
WORDS: Final = ("report", "batch")
"""Parts that put an answer into words."""


def digest(*parts: object) -> str:
    """Of several texts, each told from the next."""
    text = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        text.update(f"{len(content)}:".encode())
        text.update(content)
    return text.hexdigest()[:16]


def of_model() -> str:
    """Of the model, the engine and the checks, as they run on this Python."""
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return digest(python, *of_files(path for path in ROOT.rglob("*.py") if part_of(path) not in NO_MODEL))


def of_words() -> str:
    """Of what puts an answer into words."""
    return digest(*of_files(path for path in ROOT.rglob("*.py") if part_of(path) in WORDS))


def of_scenario(path: Path, source: str) -> str:
    """Of a scenario's text and of what it imports from its own folder."""
    return digest(source, *of_files(reached({path.resolve()}) - {path.resolve()}))


def of_strategy(strategy: Any) -> str:
    """Of a design: its fields, and the texts its functions come from."""
    fields = {field.name: getattr(strategy, field.name) for field in attrs.fields(type(strategy))}
    files = {path for value in fields.values() for path in homes(value)}
    told = (f"{name}={described(value)}" for name, value in fields.items() if name != "doc")
    return digest(*told, *of_files(reached(files)))


def part_of(path: Path) -> str:
    """`kernel` for mmsim/kernel/gup.py."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def of_files(paths: Iterable[Path]) -> list[bytes]:
    """Their contents, in an order that does not depend on where they are."""
    return sorted(path.read_bytes() for path in paths)


def homes(value: Any) -> set[Path]:
    """The files that a function, or what a partial function or a closure holds, stands in."""
    found = {path for part in parts_of(value) for path in homes(part)}
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if callable(value) and module is not None and getattr(module, "__file__", None):
        found.add(Path(str(module.__file__)).resolve())
    return found


def parts_of(value: Any) -> tuple[Any, ...]:
    """What a function was given beside its text."""
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, FunctionType):
        closed = tuple(cell.cell_contents for cell in value.__closure__ or ())
        return (*closed, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    if inspect.ismethod(value):
        return (value.__func__, value.__self__)
    return ()


def described(value: Any) -> str:
    """A value in words that are the same in every process."""
    if isinstance(value, frozenset | set):
        return f"{{{', '.join(sorted(map(described, value)))}}}"
    inner = ", ".join(map(described, parts_of(value)))
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}({inner})"
    if isinstance(value, functools.partial) or inspect.ismethod(value):
        return f"{type(value).__name__}({inner})"
    return repr(value)


def reached(files: set[Path]) -> set[Path]:
    """These files and all they import, by whatever way, from the strategies or from their own folders."""
    found = set(files)
    todo = list(files)
    while todo:
        path = todo.pop()
        for other in imported(path) - found:
            if other.parent == path.parent or ROOT / "strategies" in other.parents:
                found.add(other)
                todo.append(other)
    return {path for path in found if ROOT not in path.parents or part_of(path) == "strategies"}


def imported(path: Path) -> set[Path]:
    """The files of the modules that a file imports, as far as they are loaded."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names_imported(path.read_bytes()))
    return {Path(file).resolve() for file in files if file}


@functools.cache
def names_imported(source: bytes) -> frozenset[str]:
    """The names of the modules that a text may import; kept, for the same designs are asked about again and again."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)
