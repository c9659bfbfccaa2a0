"""Which release of the model a kernel is, by what it says of itself: its profile."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Final

from mmsim.errors import UserError
from mmsim.kernel.releases import NO_FORCE, NO_HUGE_PAGES, RELEASES, USER_MODE, Release, is_known
from mmsim.versions import Version, version

NEWEST: Final = RELEASES[-1]
HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage")


def number_of(release: str, built: str) -> Version:
    """The version in `uname -r`; from `uname -v` where Debian says there which stable release its 6.1.0-56 is."""
    debian = re.search(r"\bDebian (\d+\.\d+\.\d+)", built)
    found = re.match(r"\d+(\.\d+)*", release)
    if debian and found and debian[1].split(".")[:2] == found[0].split(".")[:2]:
        return version(debian[1])
    return version(found[0]) if found else ()


def profile(
    release: str, built: str = "", *, user_mode: bool = False, huge: bool = True, force: bool = True
) -> Release:
    """The release of a kernel of this `uname -r` and `uname -v`, built so.  UserError where the model does not know it.

    `huge`: with transparent huge pages; `force`: writes to /proc/PID/mem override protections.
    """
    number = number_of(release, built)
    if number < version(RELEASES[0].name):
        msg = f"Linux {release} is older than all that the model knows; name a release with --release"
        raise UserError(msg)
    if not is_known(number):
        msg = (
            f"Linux {release} is of no series that the model knows, whose newest is {NEWEST.name}: name it by --release"
        )
        raise UserError(msg)
    how = [USER_MODE] if user_mode else [] if huge else [NO_HUGE_PAGES]
    return Release("-".join([f"v{'.'.join(map(str, number))}", *how, *([] if force else [NO_FORCE])]))


def nearest(release: str, built: str = "", *, huge: bool = True) -> Release:
    """The profile of the running kernel; of one that is younger than all that the model knows, the youngest."""
    if number_of(release, built) > version(NEWEST.name) and not is_known(number_of(release, built)):
        return NEWEST
    return profile(release, built, huge=huge)


def running() -> Release:
    """The profile of the kernel that this runs on.  UserError where the model does not know it."""
    return nearest(platform.release(), platform.version(), huge=HUGE_PAGES.exists())
