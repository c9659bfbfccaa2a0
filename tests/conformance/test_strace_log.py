"""Reading logs of strace: every form in which a call can stand there, and what is no call."""

from __future__ import annotations

import errno
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsim.conformance.recorded import syntax
from mmsim.conformance.recorded.log import Began, Call, Ended, parsed, read
from mmsim.errors import UserError

SAMPLES = Path(__file__).parent / "samples"


def only(*lines):
    log = parsed(lines)
    assert not log.unreadable, log.unreadable
    return log.events


@pytest.mark.parametrize(
    ("line", "pid"),
    [
        ("dup(3) = 4", 0),
        ("12 dup(3) = 4", 12),
        ("12    dup(3)   = 4", 12),
        ("[pid    12] dup(3) = 4", 12),
        ("12<python3> dup(3) = 4", 12),
        ("12 10:20:30 dup(3) = 4", 12),
        ("12 10:20:30.123456 dup(3) = 4", 12),
        ("12 1700000000.123456 dup(3) = 4", 12),
        ("12      0.000123 dup(3) = 4", 12),
        ("     0.000123 dup(3) = 4", 0),
        ("12 10:20:30.123456 (+     0.000012) dup(3) = 4", 12),
        ("[pid 12] [  32] [00007f53afb68353] dup(3) = 4", 12),
        ("12 dup(3) = 4 <0.000012>", 12),
        ("12 dup(3</memfd:a>(deleted)) = 4</memfd:a>(deleted) <0.000012>", 12),
        ("12 dup(3<TCP:[127.0.0.1:80->127.0.0.1:99]>) = 4<TCP:[127.0.0.1:80->127.0.0.1:99]>", 12),
        ("12 dup(3</dev/null<char 1:3>>) = 4</dev/null<char 1:3>>", 12),
        ("12 dup(0x3) = 0x4", 12),
    ],
)
def test_prefixes_and_annotations(line, pid):
    (call,) = only(line)
    assert (call.pid, call.name, call.value, len(call.arguments)) == (pid, "dup", 4, 1)
    assert syntax.descriptor(call.arguments[0]) == 3


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ("= 0", 0),
        ("= 0x7f00a000", 0x7F00A000),
        ("= -1 EPERM (Operation not permitted)", -errno.EPERM),
        ("= -1 ENOSYS (Function not implemented) <0.1>", -errno.ENOSYS),
        ("= ?", None),
        ("= ? ERESTARTSYS (To be restarted if SA_RESTART is set)", None),
        ("= 0xa (seals F_SEAL_SHRINK|F_SEAL_WRITE)", 10),
        ("= 022", 0o22),
        ("= 1 ([{fd=3, revents=POLLIN}])", 1),
    ],
)
def test_results(result, value):
    (call,) = only(f"fcntl(3, F_GET_SEALS) {result}")
    assert call.value == value


def test_halves_are_joined():
    began, other, call = only(
        "7 read(3, <unfinished ...>",
        "8 close(4) = 0",
        '7 <... read resumed>"a)b\\"", 100) = 4',
    )
    assert isinstance(began, Began)
    assert began.arguments == ("3",)
    assert other.name == "close"
    assert (call.name, call.began, call.line, call.arguments, call.value) == ("read", 1, 3, ("3", '"a)b\\""', "100"), 4)


def test_a_process_announced_in_the_middle_of_a_call():
    (call,) = only("clone(child_stack=NULL, flags=SIGCHLDstrace: Process 12 attached", ", child_tidptr=0x7f00) = 12")
    assert (call.name, call.value, call.line) == ("clone", 12, 1)
    assert syntax.number(call.arguments[1].removeprefix("flags=")) == 17


def test_whose_a_line_without_a_pid_is():
    events = only(
        "clone(child_stack=NULL, flags=SIGCHLD) = 12",
        "[pid 12] close(3) = 0",
        "[pid 11] close(4) = 0",
        "[pid 12] +++ exited with 0 +++",
        "close(5) = 0",
    )
    assert [event.pid for event in events] == [11, 12, 11, 12, 11]


def test_a_child_that_is_the_last_one_left():
    events = only(
        "[pid 11] clone(child_stack=NULL, flags=SIGCHLD) = 12",
        "[pid 11] +++ exited with 0 +++",
        "close(5) = 0",
    )
    assert [event.pid for event in events] == [11, 11, 12]


def test_signals_and_ends():
    log = parsed(
        [
            "7 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---",
            "7 +++ killed by SIGSEGV (core dumped) +++",
            "strace: Process 9 attached",
            " > /lib/libc.so.6(read+0x10) [0x1234]",
        ]
    )
    assert log.events == (Ended(7, 2),)
    assert (log.signals, log.unreadable) == (1, ())


@pytest.mark.parametrize(
    "line",
    [
        "hello, world",
        'write(1, "abc',
        "close(3",
        "close(3)",
        "close(3]) = 0",
        "close(3) = -1 ENOSUCH (What?)",
        "close(3</a) = 0",
        "close(3 /* what) = 0",
        "<... read resumed>) = 3",
        "<html>",
    ],
)
def test_what_cannot_be_read_is_kept_with_its_number(line):
    log = parsed(["close(9) = 0", line])
    assert [(bad.number, bad.text) for bad in log.unreadable] == [(2, line)]
    assert log.unreadable[0].reason
    assert [event.name for event in log.events if isinstance(event, Call)] == ["close"]


def test_a_log_that_is_cut_off():
    log = parsed(["7 close(9) = 0", "8 read(3,  <unfinished ...>", '7 write(3, "ab'])
    assert [began.name for began in log.endless] == ["read"]
    assert [bad.number for bad in log.unreadable] == [3]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x3", 3),
        ("0", 0),
        ("0644", 0o644),
        ("PROT_READ|PROT_WRITE", 3),
        ("MAP_SHARED|MAP_FIXED_NOREPLACE", 0x100001),
        ("MFD_CLOEXEC|0x10", 0x11),
        ("0x10 /* MFD_??? */", 0x10),
        ("0x100 /* 0x100 /* MFD_??? */ */", 0x100),
        ("MFD_HUGETLB|21<<MFD_HUGE_SHIFT", 4 | 21 << 26),
        ("S_IFREG|0777", 0o100777),
        ("F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_EXEC", 0x26),
    ],
)
def test_numbers(text, value):
    assert syntax.number(text) == value


@pytest.mark.parametrize("text", ["MAP_SHARED|MAP_NEVER", "089", "0x", "", "1<<99999999", "9" * 30, "3 4"])
def test_what_is_no_number(text):
    with pytest.raises(syntax.Unreadable, match="is no number and no flag"):
        syntax.number(text)


def test_raw_arguments_have_a_sign():
    assert syntax.descriptor("0xffffffff") == -1
    assert syntax.descriptor("AT_FDCWD</tmp>") == -100
    assert syntax.signed("0xffffffffffffffff") == -1
    assert syntax.signed("-1") == -1


def as_strace(data):
    """A string as strace writes it: letters as they are, the rest in octal."""
    plain = set((string.ascii_letters + string.digits + " ,()[]{}<>=/*|#").encode())
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in data) + '"'


@given(st.binary(max_size=40), st.booleans())
def test_strings_come_back(data, cut):
    text = as_strace(data) + ("..." if cut else "")
    assert syntax.string(text) == syntax.Text(data, cut)
    (call,) = only(f"write(1, {text}, 40) = 40")
    assert call.arguments[1] == text


@given(st.text(max_size=200))
def test_any_text_is_read_or_told_of(text):
    lines = text.split("\n")
    log = parsed(lines)
    told = {line.number for line in log.unreadable}
    assert told <= set(range(1, len(lines) + 1))


def test_structs():
    members = syntax.fields('{st_mode=S_IFREG|0777, st_size=4096, st_rdev=makedev(0x1, 0x3), name="a, b}", ...}')
    assert members["st_size"] == "4096"
    assert members["name"] == '"a, b}"'
    assert syntax.fields("0x7fff1234") == {}
    assert syntax.elements("[{a=1}, {a=2}]") == ("{a=1}", "{a=2}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"hello\nworld\n", "no line is a system call"),
        (bytes(range(256)) * 4, "no line is a system call"),
    ],
)
def test_no_log(tmp_path, content, told):
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read(path)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "log")
    with pytest.raises(UserError, match="Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.log")), ids=lambda path: path.stem)
def test_samples_are_read_whole(path):
    log = read(path)
    assert not log.unreadable
    assert not log.endless
