"""Kernel images: what is one, what it needs to start, and which of apt's packages are asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mmsim.conformance.kernels import build
from mmsim.conformance.kernels.image import LIBRARY, LOADER, Image, image
from mmsim.errors import UserError
from tests.conformance.test_programs import mmsim
from tests.kernels import wanted

# ---- a C library of its own

BEGINS_ANEW = """
#include <stdio.h>
#include <unistd.h>
const char banner[] = "User Mode Linux";
int main(int argc, char **argv)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int letter;

	if (argc == 1)
		return execl("/proc/self/exe", argv[0], banner, NULL);
	while ((letter = fgetc(maps)) != EOF)
		putchar(letter);
	return 0;
}
"""
"""What begins anew as user-mode Linux does, and then tells what it is made of."""


def libraries():
    """This machine's loader and C library, which this process has."""
    paths = {Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines()}
    return [path for path in paths if path.name in {LOADER, LIBRARY}]


@pytest.fixture
def begins_anew(tmp_path):
    if len(libraries()) < 2:
        pytest.skip("this machine has another C library")
    try:
        command = build.compiler()
    except UserError as error:
        pytest.skip(str(error))
    built = tmp_path / "linux.uml"
    subprocess.run([command, "-xc", "-", "-o", built], input=BEGINS_ANEW.encode(), check=True)
    (tmp_path / "scratch").mkdir()
    return built


def started(path, scratch):
    """The objects of what an image's command starts."""
    uml = image(str(path))
    command = uml.command(scratch / "initramfs", scratch, 3)[:1]
    environment = {**os.environ, **uml.environment(scratch)}
    maps = subprocess.run(command, env=environment, cwd=scratch, capture_output=True, check=True, text=True).stdout
    return {line.split()[-1] for line in maps.splitlines() if "/" in line}


def test_an_image_with_a_c_library_of_its_own(begins_anew, tmp_path):
    scratch = tmp_path / "scratch"
    assert str(begins_anew) in started(begins_anew, scratch)
    folder = tmp_path / "linux.uml.libc"
    folder.mkdir()
    with pytest.raises(UserError, match=r"linux\.uml\.libc has no ld-linux"):
        started(begins_anew, scratch)
    for path in libraries():
        shutil.copy(path, folder)
    for _ in range(2):  # a guest may have to be booted again
        assert started(begins_anew, scratch) == {str(scratch / "linux"), *map(str, folder.iterdir())}
    assert image(str(begins_anew)).advice("version 'GLIBC_2.99' not found") != ""


# ---- bad input


@pytest.fixture
def elf(tmp_path):
    file = tmp_path / "elf"
    file.write_bytes(b"\x7fELF" + bytes(100))
    return file


def test_what_is_no_image(tmp_path, elf):
    text = tmp_path / "text"
    text.write_text("no kernel")
    for path, said in (
        (tmp_path / "none", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (text, "is no kernel that boots here"),
        (elf, "is an ELF file but no user-mode Linux"),
    ):
        with pytest.raises(UserError) as error:
            image(str(path))
        assert said in str(error.value)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--random", "5", "--kernel", "none"), "none cannot be read"), (("--kernel", "none"), "add --random N")],
)
def test_bad_input(arguments, said):
    told = mmsim(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_without_qemu_or_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UserError, match="install it"):
        Image(tmp_path / "vmlinuz", user_mode=False).command(tmp_path, tmp_path, 3)
    with pytest.raises(UserError, match="install gcc"):
        build.executor(tmp_path)


def test_without_a_static_library(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho '/usr/bin/ld: cannot find -lc' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(build, "compiler", lambda: str(compiler))
    with pytest.raises(UserError, match=r"is a static C library there.*cannot find -lc"):
        build.executor(tmp_path)


# ---- which of apt's packages are asked


def test_the_newest_kernel_of_a_series_and_of_some_the_oldest():
    names = [f"linux-image-6.12.{number}-cloud-amd64" for number in ("90+deb13", "90+deb13.1", "118+deb13", "94+deb13")]
    names += ["linux-image-6.19.9+deb13-cloud-amd64", "linux-binary-6.19.14+deb13-cloud-amd64", "linux-image-amd64"]
    names += ["linux-image-6.19.14+deb13-cloud-amd64", "linux-image-6.19.20+deb13-amd64"]
    assert wanted(names) == [names[0], names[2], names[5]]
