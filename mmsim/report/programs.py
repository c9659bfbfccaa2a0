"""What random programs showed: each difference as a scenario file, then the limits, then how many programs agreed."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING, Final

from mmsim import syscalls
from mmsim.report.calls import flags
from mmsim.report.conformance import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmsim.conformance.sequential.program import Answer, Call
    from mmsim.conformance.sequential.run import Difference, ProgramsResult

MASKS: Final = {
    ("memfd_create", 1): ("MFD_CLOEXEC", "MFD_ALLOW_SEALING", "MFD_HUGETLB", "MFD_NOEXEC_SEAL", "MFD_EXEC"),
    ("open", 1): ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"),
    ("reopen", 1): ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"),
    ("fallocate", 1): ("FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"),
    ("mmap", 1): ("PROT_READ", "PROT_WRITE"),
    ("mmap", 2): ("MAP_SHARED", "MAP_PRIVATE", "MAP_FIXED"),
    ("mprotect", 2): ("PROT_READ", "PROT_WRITE"),
    ("madvise", 2): ("MADV_DONTNEED",),
    ("mremap", 3): ("MREMAP_MAYMOVE", "MREMAP_FIXED"),
    ("add_seals", 1): (
        "F_SEAL_SEAL",
        "F_SEAL_SHRINK",
        "F_SEAL_GROW",
        "F_SEAL_WRITE",
        "F_SEAL_FUTURE_WRITE",
        "F_SEAL_EXEC",
    ),
}
ADDRESSES: Final = {"munmap": (0,), "mprotect": (0,), "madvise": (0,), "mremap": (0, 4), "load": (0,), "store": (0,)}
FILLED: Final = {"write": 1, "pwrite": 1, "store": 1}
NAMES: Final = ("main", "child", "other")
"""What the processes of a program are called."""
PASSING: Final = """
`pass_fd(fd, process)` is sendmsg(SCM_RIGHTS) and the other process's recvmsg().  Scenarios have no call for it: it is
left out here, as a comment, so this file alone does not do what the program did.
"""


def status(result: ProgramsResult) -> int:
    """The exit status: 0 all agreed, 1 a difference, 3 not as many as were asked for."""
    if result.agreed < result.programs:
        return 1
    return 0 if result.programs and not result.interrupted else 3


def text(result: ProgramsResult) -> str:
    """The last line says how many programs agreed."""
    lines = [
        f"Linux {result.linux}, and the model ({result.strategy} on {result.release}); programs of seed {result.seed}"
    ]
    if result.skipped:
        return "\n".join([*lines, f"Skipped: {result.skipped}", "0 programs agreed, for none was performed"])
    lines += [f"Not asked: {sentence}" for sentence in result.not_asked]
    for difference in result.differences:
        lines += ["", scenario(result, difference).rstrip("\n"), ""]
    uncounted = result.programs - result.agreed - len(result.differences)
    if uncounted:
        more = "program more differs, and is" if uncounted == 1 else "programs more differ, and are"
        lines.append(f"{uncounted:,} {more} not shown")
    if result.programs:
        lines.append(speed(result))
    ended = ", ended by Ctrl-C" if result.interrupted else ""
    programs, calls = counted(result.programs, "program"), counted(result.calls, "call")
    jobs = f" by {result.jobs} jobs" if result.jobs > 1 else ""
    took = f" in {result.seconds:.1f} s{jobs}" if result.seconds else ""
    lines.append(f"{result.agreed:,} of {programs} agreed, {calls}{took}{ended}")
    return "\n".join(lines)


def speed(result: ProgramsResult) -> str:
    """How many programs each side performs in a second of CPU, which depends on no one else."""
    alone = result.programs - result.forking
    return (
        f"Speed by CPU time: Linux {_rate(alone, result.linux_seconds)} of one process and "
        f"{_rate(result.forking, result.forking_seconds)} of several, "
        f"the model {_rate(result.programs, result.model_seconds)}, "
        f"of {result.calls / result.programs:.1f} calls each"
    )


def _rate(programs: int, seconds: float) -> str:
    return f"{programs / seconds:,.0f} programs/s" if seconds and programs else "no programs"


def scenario(result: ProgramsResult, difference: Difference) -> str:
    """A scenario file that performs the program, with both answers beside each call."""
    differing = sum(one != other for one, other in zip(difference.linux, difference.model, strict=True))
    answers = "one answer" if differing == 1 else f"{differing} answers"
    processes = sorted({call.process for call in difference.program} | set(_forked(difference.program)))
    passing = PASSING if any(call.verb == "pass_fd" for call in difference.program) else ""
    once = "" if difference.repeats else "\nA second run of it did not differ, so it is as it was drawn.\n"
    bodies = "\n\n\n".join(_function(process, difference) for process in processes)
    children = "".join(f"{_name(process)}, " for process in processes if process)
    more = f", children=({children})" if children else ""
    mounts = ", mounts=(TMPFS,)" if "TMPFS" in bodies else ""
    names = sorted(_words(bodies) & set(_constants()) | ({"Mount"} if mounts else set()))
    mount = 'TMPFS = Mount("tmpfs")\n\n\n' if mounts else "\n"
    imported = f"from mmsim.syscalls import {', '.join(names)}\n" if names else ""
    return f'''"""Linux {result.linux} and the model ({result.strategy} on {result.release}) differ in {answers}.

It comes from program {difference.number} of seed {result.seed}; its calls are made in the order of their numbers.
{passing}{once}
{chr(10).join(f"    {_name(process)}    calls, each with the two answers" for process in processes)}
"""

from mmsim.scenario import Scenario
{imported}
{mount}async def setup(sys):
    return None


{bodies}


scenario = Scenario(setup=setup, threads=(main,){more}{mounts}, release="{result.release}")
'''


def _words(body: str) -> set[str]:
    return set(body.replace("(", " ").replace(")", " ").replace(",", " ").replace("|", " ").split())


def _constants() -> list[str]:
    return sorted({name for names in MASKS.values() for name in names} | {"PAGE_SIZE"})


def _name(process: int) -> str:
    return NAMES[process]


def _forked(program: Sequence[Call]) -> range:
    """The processes there are beyond the first."""
    return range(1, 1 + sum(call.verb == "fork" for call in program))


def _function(process: int, difference: Difference) -> str:
    lines = list(_calls(process, difference)) or ["    pass"]
    return "\n".join(
        [f"async def {_name(process)}(sys, shared):", "    answers = []", *lines, "    return tuple(answers)"]
    )


def _calls(process: int, difference: Difference) -> Iterator[str]:
    forks = 0
    answered = zip(difference.program, difference.linux, difference.model, strict=True)
    for number, (call, linux, model) in enumerate(answered, 1):
        forks += call.verb == "fork"
        if call.process != process:
            continue
        both = f"both {answer(linux)}" if linux == model else f"Linux {answer(linux)}, the model {answer(model)}"
        if call.verb == "pass_fd":
            yield f"    # {number}. {written(call)}: {both}"
        else:
            yield f"    answers.append(await sys.{written(call, forks)})  # {number}. {both}"


def written(call: Call, forks: int = 1) -> str:
    """A call as a scenario makes it."""
    if call.verb == "fork":
        return f"fork({_name(forks)})"
    if call.verb == "pass_fd":
        fd, to = call.arguments
        return f"pass_fd({fd}, {_name(to)})"
    arguments = [_argument(call, at) for at in range(len(call.arguments))]
    if call.verb in FILLED:
        at = FILLED[call.verb]
        arguments[at : at + 2] = [f"{bytes((int(call.arguments[at]),))!r} * {arguments[at + 1]}"]
    if call.verb == "open":
        arguments.insert(0, "TMPFS")
    return f"{call.verb}({', '.join(arguments)})"


def _argument(call: Call, at: int) -> str:
    value = call.arguments[at]
    if isinstance(value, str):
        return f'"{value}"'
    names = MASKS.get((call.verb, at))
    if names is not None:
        return flags(value, names).replace("|", " | ")
    address = at in ADDRESSES.get(call.verb, ()) or (call.verb == "mmap" and at == len(call.arguments) - 1)
    mode = call.verb == "fchmod" and at
    return hex(value) if address else oct(value) if mode else str(value)


def answer(value: Answer) -> str:
    """An answer in a few words: an errno by its name."""
    if isinstance(value, int) and -value in errno.errorcode:
        return f"-{errno.errorcode[-value]}"
    if isinstance(value, int) and value >= syscalls.PAGE_SIZE * syscalls.PAGE_SIZE:
        return hex(value)
    if isinstance(value, bytes):
        return " ".join(_run(byte, len(list(same))) for byte, same in itertools.groupby(value)) or "no bytes"
    return "nothing" if value is None else str(value)


def _run(byte: int, count: int) -> str:
    """`Ax4096`: so many of a letter, or of zeros."""
    return f"{chr(byte) if byte else '0'}x{count}"
