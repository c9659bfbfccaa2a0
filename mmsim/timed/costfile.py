"""A machine's figures from a TOML file, or a preset by its name.

    name = "laptop"
    source = "lat_mem_rd and my own ping-pong, 3 March 2026"
    line_bytes = 64
    atomic = 5.2
    ...

Every figure of `mmsim.timed.costs.Figures` is given, in ns; or `like = "cloud"`, and only what differs.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from pathlib import Path
from typing import Any

import attrs

from mmsim.errors import UserError
from mmsim.timed.costs import MOST_CPUS, Figures
from mmsim.timed.presets import PRESETS

TEXTS = ("name", "source")
COUNTS = {"line_bytes": (16, 32, 64, 128, 256), "word": (4, 8), "cpus_per_socket": range(1, MOST_CPUS + 1)}
POSITIVE = ("step",)


def figures(what: str) -> Figures:
    """The preset of that name, or what a file of that path says.  Raises UserError."""
    if what in PRESETS:
        return PRESETS[what]
    if not what.endswith(".toml"):
        near = difflib.get_close_matches(what, PRESETS, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}, or a file that ends in .toml"
        msg = f"there is no cost model {what!r}; {advice}"
        raise UserError(msg)
    try:
        text = Path(what).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"the cost file {what!r} cannot be read: {error.strerror}"
        raise UserError(msg) from None
    except UnicodeDecodeError:
        msg = f"the cost file {what!r} is no text in UTF-8"
        raise UserError(msg) from None
    return parsed(text, what)


def parsed(text: str, where: str) -> Figures:
    """What a cost file says.  Raises UserError for the first mistake in it."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"the cost file {where} is no TOML: {error}"
        raise UserError(msg) from None
    known = [field.name for field in attrs.fields(Figures)]
    for key in given:
        if key not in (*known, "like"):
            near = difflib.get_close_matches(key, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
            msg = f"the cost file {where} has the key {key!r}, which is no figure; {advice}"
            raise UserError(msg)
    base = _base(given.pop("like", None), where)
    for key in known:
        if key not in given and key not in base:
            msg = f"the cost file {where} lacks the key {key!r} (or a `like` that names a preset to take it from)"
            raise UserError(msg)
    for key, value in given.items():
        _check(key, value, where)
    return Figures(**{**base, **given})


def _base(like: Any, where: str) -> dict[str, Any]:
    if like is None:
        return {}
    if like not in PRESETS:
        near = difflib.get_close_matches(str(like), PRESETS, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
        msg = f"the cost file {where} is like {like!r}, which is no preset; {advice}"
        raise UserError(msg)
    return {**attrs.asdict(PRESETS[like]), "name": Path(where).stem}


def _check(key: str, value: Any, where: str) -> None:
    if key in TEXTS:
        if not isinstance(value, str) or not value.strip():
            msg = f"the cost file {where} has {key} = {value!r}, but that is a text"
            raise UserError(msg)
        return
    if key in COUNTS:
        allowed = COUNTS[key]
        if type(value) is not int or value not in allowed:
            wanted = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
            msg = f"the cost file {where} has {key} = {value!r}, but that is one of {wanted}"
            raise UserError(msg)
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (key in POSITIVE and not value):
        wanted = "a positive number" if key in POSITIVE else "a number that is not negative"
        msg = f"the cost file {where} has {key} = {value!r}, but a duration is {wanted} of nanoseconds"
        raise UserError(msg)
