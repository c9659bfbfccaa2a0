"""Names of releases in their order: `v4.8` comes before `v4.19`, and `v6.12` before `v6.12.93`.

After a dash a name may say how the kernel was built (`mmsim.kernel.releases.BUILDS`), which has no part in the order.
"""

from __future__ import annotations

Version = tuple[int, ...]


def version(name: str) -> Version:
    """(6, 12, 93) of `v6.12.93` or `v6.12.93-um`.  Raises ValueError if the name is of another form."""
    return tuple(map(int, name.removeprefix("v").partition("-")[0].split(".")))
