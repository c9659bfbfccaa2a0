"""How a file becomes read-only, whoever promises it: F_SEAL_WRITE, remount,ro, chattr +i, or execve() while it runs.

Follows mm/memfd.c (memfd_add_seals), which alone asks anybody before it promises; a remount, FS_IOC_SETFLAGS and
execve() come here too, so that a design can be asked the same question before each of the four promises.

Not modelled: the promise that a directory or a whole mount stays (bind mounts), because no page is behind it.
"""

from __future__ import annotations

from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import Inode, Kernel


async def become_read_only(k: Kernel, inode: Inode, promise: Guarantee) -> int:
    """See to it that nobody writes the file any more: 0, or an errno with nothing changed.

    Deny writers first and look for pins second: a mapping made in between could pin a page after the look.
    """
    if promise not in k.strategy.guards:
        return 0
    error = await k.strategy.deny_writable(k, inode)
    if error:
        return int(error)
    error = await k.strategy.exclude_pins(k, inode.mapping)
    if error:
        await k.strategy.allow_writable(k, inode)
    return int(error)


async def become_writable(k: Kernel, inode: Inode, promise: Guarantee) -> None:
    """The promise is taken back, or could not be made of another file of the same mount."""
    if promise in k.strategy.guards:
        await k.strategy.allow_writable(k, inode)
