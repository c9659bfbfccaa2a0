"""Names of releases in their order: `v4.8` comes before `v4.19`, and `v6.12` before `v6.12.93`."""

from __future__ import annotations

Version = tuple[int, ...]


def version(name: str) -> Version:
    """(6, 12, 93) of `v6.12.93`.  Raises ValueError if the name is of another form."""
    return tuple(map(int, name.removeprefix("v").split(".")))
