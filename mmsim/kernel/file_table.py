"""struct file: who refers to it, and what its last reference gives back.

Follows fs/file_table.c (get_file, fput, __fput), v3.17.

Not modelled: the references of regular files, because nothing here looks at them; the reference that a call holds
while it runs (fdget), because no scenario closes a descriptor that another of its threads is using.
"""

from __future__ import annotations

from mmsim.kernel.types import File, Kernel


async def get_file(file: File) -> None:
    """One more reference."""
    if file.f_op:
        await file.f_count.inc()


async def fput(k: Kernel, file: File) -> None:
    """One reference less; the last one releases what is behind the file."""
    if file.f_op and await file.f_count.dec_and_test():
        await file.f_op.release(k, file)
