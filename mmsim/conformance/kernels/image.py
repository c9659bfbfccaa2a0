"""A kernel image, and the command that boots it with the executor as its first process.

user-mode Linux is an ELF executable and an ordinary process; a bzImage (vmlinuz) boots in qemu, by emulation (TCG), for
that needs no privilege and is there on every machine.  The machine is `pc`: Linux 6.1 now and then hangs on `microvm`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import attrs

from mmsim.conformance.kernels import wire
from mmsim.errors import UserError

QEMU: Final = "qemu-system-x86_64"
ELF: Final = b"\x7fELF"
USER_MODE: Final = b"User Mode Linux"
SETUP_MAGIC_AT, SETUP_MAGIC = 0x202, b"HdrS"
MEMORY_MIB: Final = 256
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (user-mode Linux wants its memory there; it unlinks it at once)
BOOT: Final = "rdinit=/init quiet panic=-1 mitigations=off"


@attrs.frozen
class Image:
    """A file that is a kernel."""

    path: Path
    user_mode: bool
    """Whether it is user-mode Linux; otherwise it is a bzImage."""

    def command(self, initramfs: Path, scratch: Path, line: int) -> list[str]:
        """What boots it: its console goes to standard error, its serial line is the socket with that descriptor."""
        if self.user_mode:
            return [
                str(self.path.absolute()),
                f"mem={MEMORY_MIB}M",
                f"initrd={initramfs}",
                f"uml_dir={scratch}/",
                "con=null",
                "con0=null,fd:2",
                "console=tty0",
                "ssl=null",
                f"ssl0=fd:{line},fd:{line}",
                *BOOT.split(),
            ]
        qemu = shutil.which(QEMU)
        if qemu is None:
            msg = f"{self.path} is a bzImage, which boots in {QEMU}: install it (Debian: qemu-system-x86)"
            raise UserError(msg)
        machine = ["-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", str(MEMORY_MIB)]
        memory = f"memory-backend-file,id=shared,share=on,size={2 * wire.SHARED_HALF},mem-path={scratch / 'shared'}"
        machine += ["-object", memory, "-device", "ivshmem-plain,memdev=shared"]
        lines = ["-serial", f"file:{scratch / 'console'}", "-chardev", f"socket,id=line,fd={line}"]
        return [
            qemu,
            *machine,
            *("-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(self.path.absolute())),
            *("-initrd", str(initramfs), "-append", f"console=ttyS0 {BOOT}", *lines, "-serial", "chardev:line"),
        ]

    def environment(self, scratch: Path) -> dict[str, str]:
        """What the command finds there beyond what is there: where user-mode Linux keeps its memory."""
        return {"TMPDIR": str(SHARED_MEMORY if SHARED_MEMORY.is_dir() else scratch)} if self.user_mode else {}


def image(name: str) -> Image:
    """The image in the file of that name.  UserError: there is none, or none of a kind that boots here."""
    path = Path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"--kernel: {path} cannot be read ({error.strerror})"
        raise UserError(msg) from None
    if content.startswith(ELF):
        if USER_MODE in content:
            return Image(path, user_mode=True)
        msg = f"--kernel: {path} is an ELF file but no user-mode Linux; of another kernel give the bzImage (vmlinuz)"
        raise UserError(msg)
    if content[SETUP_MAGIC_AT : SETUP_MAGIC_AT + len(SETUP_MAGIC)] == SETUP_MAGIC:
        return Image(path, user_mode=False)
    msg = f"--kernel: {path} is no kernel that boots here: neither user-mode Linux nor an x86 bzImage (vmlinuz)"
    raise UserError(msg)
