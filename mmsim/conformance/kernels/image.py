"""A kernel image, and the command that boots it with the executor as its first process.

user-mode Linux is an ELF executable and an ordinary process; a bzImage (vmlinuz) boots in qemu, by emulation (TCG), for
that needs no privilege and is there on every machine.  The machine is `pc`: Linux 6.1 now and then hangs on `microvm`.

user-mode Linux needs a C library as new as the one it was linked to.  Where this machine's is older, a newer one and
its loader are put into the folder IMAGE.libc, and IMAGE is started with those.  The loader's name stands in the
executable (PT_INTERP), so a copy of the image gets another; to call the loader by name would not do, for user-mode
Linux begins anew through /proc/self/exe, and that would be the loader.
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
LOADER, LIBRARY = "ld-linux-x86-64.so.2", "libc.so.6"
INTERPRETER: Final = f"/lib64/{LOADER}\0".encode()
HERE: Final = "libc"
"""What IMAGE.libc is called in the scratch folder, which is the guest's own: a loader's path has to be short."""
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

    @property
    def libc(self) -> Path:
        """The folder for a C library of its own; it need not be there."""
        return self.path.absolute().with_name(f"{self.path.name}.libc")

    def command(self, initramfs: Path, scratch: Path, line: int) -> list[str]:
        """What boots it: its console goes to standard error, its serial line is the socket with that descriptor."""
        if self.user_mode:
            return [
                str(self._executable(scratch)),
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
        """What the command finds there beyond what is there: where user-mode Linux has memory and library."""
        if not self.user_mode:
            return {}
        memory = {"TMPDIR": str(SHARED_MEMORY if SHARED_MEMORY.is_dir() else scratch)}
        return memory | ({"LD_LIBRARY_PATH": HERE} if self.libc.is_dir() else {})

    def advice(self, said: str) -> str:
        """What to do about the last words of a guest, if it is known."""
        if "GLIBC_" not in said or not self.user_mode:
            return ""
        if self.libc.is_dir():
            return f"; the C library in {self.libc} is not the one that it needs"
        return f"; put {LOADER} and {LIBRARY} of a newer C library (Debian: libc6) into {self.libc}/"

    def _executable(self, scratch: Path) -> Path:
        """The image itself, or a copy in the scratch folder that has another loader."""
        if not self.libc.is_dir():
            return self.path.absolute()
        for name in (LOADER, LIBRARY):
            if not (self.libc / name).is_file():
                msg = f"{self.libc} has no {name}, with which {self.path.name} would be started"
                raise UserError(msg)
        here = scratch / HERE
        here.unlink(missing_ok=True)
        here.symlink_to(self.libc)
        loader = f"{HERE}/{LOADER}".encode().ljust(len(INTERPRETER), b"\0")
        copy = scratch / "linux"
        copy.write_bytes(self.path.read_bytes().replace(INTERPRETER, loader, 1))
        copy.chmod(0o700)
        return copy


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
