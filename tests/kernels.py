"""The model against kernels other than the running one: release by release, how many programs were compared and differ.

    python -m tests.kernels                         # 2,000 programs in each of Debian's kernels, fetched by apt
    python -m tests.kernels --programs 20000 --only 6.12 --only 7.3
    KERNELS=FOLDER python -m tests.kernels          # in every kernel image of a folder instead
    python -m tests.kernels --write                 # and put the table into README.md

The kernels come from the archives that this machine's apt is set up for, out of the suites in `SUITES`.  They are
unpacked into a cache folder and nothing is installed; lists and downloads of apt are in that folder too.  A bzImage
needs qemu-system-x86_64, without which only user-mode Linux is asked.  A user-mode Linux that does not start, for this
machine's C library is older than it wants, gets one from there (see mmsim/conformance/kernels/image.py).  Exit status: 0
all agreed, 1 a difference, 2 nothing to compare.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import platformdirs

from mmsim.conformance.kernels.guest import Guest
from mmsim.conformance.kernels.image import LIBRARY, LOADER, QEMU, image
from mmsim.conformance.sequential.run import ProgramsResult, conform_programs
from mmsim.errors import UserError
from mmsim.report import programs as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.versions import version

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- make conform-kernels -->\n", "<!-- end of the table -->\n"
SUITES = ("bullseye", "bookworm", "trixie", "trixie-backports", "sid")
BOTH_ENDS = {"5.10", "6.12"}
"""Series of whose stable releases the oldest is asked too, for answers changed between it and the newest."""
PACKAGE = re.compile(r"linux-(?:image|binary)-(?P<name>(?P<series>\d+\.\d+)\.\d+.*-cloud-amd64)")
UML = "user-mode-linux"
LIBC = "libc6"
FEWEST = 2000


class Row(NamedTuple):
    """A line of the table."""

    kernel: str
    result: ProgramsResult | None
    why: str = ""


class Apt:
    """apt on lists of its own, so that suites which the machine does not use are seen by nobody else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in ("lists/partial", "archives/partial", "debs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "sources").write_text("".join(self._sources()))
        options = {
            "Dir::Etc::sourcelist": folder / "sources",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder,
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        self.run("apt-get", "update", "-qq")

    def run(self, command: str, *arguments: str) -> str:
        """What it prints.  UserError where it fails."""
        done = subprocess.run(
            [command, *self._options, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder / "debs",
        )
        if done.returncode:
            said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            msg = f"{command} {arguments[0]}: {said}"
            raise UserError(msg)
        return done.stdout

    def download(self, package: str) -> Path:
        """The package's file."""
        self.run("apt-get", "download", package)
        (deb,) = (self._folder / "debs").glob("*.deb")
        return deb

    @staticmethod
    def _sources() -> Iterator[str]:
        """The suites, from wherever this machine's apt gets Debian."""
        told = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(SIGNED_BY) $(ORIGIN)", "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        archives = sorted({line.rsplit(" ", 1)[0] for line in told.splitlines() if line.endswith(" Debian")})
        if not archives:
            raise UserError(
                "apt knows no archive of Debian here (is `apt-get update` due?); name images by KERNELS=FOLDER"
            )
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        for archive in archives:
            uri, _, signed = archive.partition(" ")
            signed = signed if signed.startswith("/") else keyring
            security = "security" in uri
            for suite in SUITES:
                if security and suite in {"sid", "trixie-backports"}:
                    continue
                yield f"deb [signed-by={signed}] {uri} {suite}{'-security' * security} main\n"


def wanted(names: Iterable[str]) -> list[str]:
    """Of each series the newest package, and of some the oldest: a `binary` package rather than an `image`."""
    series: dict[str, dict[str, str]] = {}
    for name in sorted(names, reverse=True):  # so that linux-binary-X takes the place of linux-image-X
        if found := PACKAGE.fullmatch(name):
            series.setdefault(found["series"], {})[found["name"]] = name
    chosen = []
    for number, packages in sorted(series.items(), key=lambda item: version(item[0])):
        in_order = sorted(packages, key=natural)
        ends = {in_order[-1], in_order[0]} if number in BOTH_ENDS else {in_order[-1]}
        chosen += [packages[name] for name in sorted(ends, key=natural)]
    return chosen


def natural(name: str) -> list[int]:
    """The numbers in a name up to the flavour (amd64), for ordering."""
    return list(map(int, re.findall(r"\d+", name.partition("-cloud")[0])))


def fetched(folder: Path, only: list[str]) -> list[Path]:
    """Debian's kernels, unpacked there."""
    apt = Apt(folder / "apt")
    packages = wanted(apt.run("apt-cache", "pkgnames", "linux-").split())
    versions = re.findall(rf"^ *{UML} \| +(\S+) \|", apt.run("apt-cache", "madison", UML), re.MULTILINE)
    found = []
    for package in [*packages, *(f"{UML}={number}" for number in sorted(set(versions), key=natural))]:
        if only and not any(f"-{each}." in package or f"={each}um" in package for each in only):
            continue
        kernel = folder / package.replace("=", "-").removeprefix("linux-binary-").removeprefix("linux-image-")
        if not kernel.exists():
            unpack(apt, package, {r"vmlinuz.*|linux\.uml": kernel})
        if package.startswith(UML) and not starts(kernel):
            libc = image(str(kernel)).libc
            libc.mkdir(exist_ok=True)
            files = {re.escape(name): libc / name for name in (LOADER, LIBRARY)}
            if not all(map(Path.exists, files.values())):
                unpack(apt, LIBC, files)
        found.append(kernel)
    return found


def unpack(apt: Apt, package: str, files: Mapping[str, Path]) -> None:
    """Take files out of a package: by an expression for the name, where each goes."""
    print(f"fetching {package}", file=sys.stderr, flush=True)
    deb = apt.download(package)
    try:
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as unpacked,
            tarfile.open(fileobj=unpacked.stdout, mode="r|") as tar,
        ):
            for member in tar:
                for name, to in files.items() if member.isfile() else ():
                    if re.fullmatch(name, Path(member.name).name):
                        content = tar.extractfile(member)
                        assert content is not None
                        to.write_bytes(content.read())
                        to.chmod(0o755)
    finally:
        deb.unlink()
    for to in files.values():
        if not to.exists():
            msg = f"{package} has no {to.name} in it"
            raise UserError(msg)


def starts(uml: Path) -> bool:
    """Whether the machine's C library is new enough for it."""
    return subprocess.run([uml, "--version"], capture_output=True, check=False).returncode == 0


def compared(path: Path, programs: int, seed: int) -> Row:
    """One kernel's row."""
    try:
        result = conform_programs(programs, seed, wait_for_pins, kernel=Guest(image(str(path))))
    except UserError as error:
        return Row(path.name, None, str(error))
    return Row(path.name, result)


def table(rows: list[Row]) -> str:
    """The rows that were compared, in Markdown."""
    lines = ["| release of the model | kernel | programs | calls | differences |", "|---|---|---:|---:|---:|"]
    done = [(row.kernel, row.result) for row in rows if row.result]
    for kernel, result in sorted(done, key=lambda each: (version(each[1].release), each[1].release)):
        differ = result.programs - result.agreed
        lines.append(f"| {result.release} | {kernel} | {result.programs:,} | {result.calls:,} | {differ:,} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=FEWEST, help="how many in each kernel (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], metavar="SERIES", help="only kernels of 6.12, say")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    try:
        given = os.environ.get("KERNELS")
        folder = Path(given or platformdirs.user_cache_path("mmsim") / "kernels")
        if given and not folder.is_dir():
            msg = f"KERNELS={given}: no such folder"
            raise UserError(msg)
        paths = sorted(filter(Path.is_file, folder.iterdir())) if given else fetched(folder, chosen.only)
    except (UserError, FileNotFoundError) as error:
        print(f"kernels: {error}", file=sys.stderr)
        return 2
    if not shutil.which(QEMU):
        print(f"{QEMU} is not here, so only user-mode Linux is asked (Debian: qemu-system-x86)", file=sys.stderr)
        paths = [path for path in paths if path.name.startswith((UML, "linux"))]
    rows = []
    for path in paths:
        began = time.monotonic()
        row = compared(path, chosen.programs, chosen.seed)
        rows.append(row)
        if row.result is None:
            print(f"{path.name}: {row.why}", flush=True)
            continue
        print(f"{path.name}: {report.text(row.result).splitlines()[-1]}, {time.monotonic() - began:.0f} s", flush=True)
        if row.result.differences:
            print(report.text(row.result), flush=True)
    text = table(rows)
    print(text)
    if chosen.write:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(before + BEGIN + text + END + rest.partition(END)[2])
    results = [row.result for row in rows if row.result]
    return 2 if not results else 1 if any(each.agreed < each.programs for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
