"""What has to run without the interpreter, in x86-64 machine code: each line has the bytes and what they say.

`copy(to, from, length)` survives its faults: `handler`, of SIGSEGV and SIGBUS, moves the saved RIP past the `rep movsb`
and the signal's number into the saved RAX, so the copy returns the number of the signal that the fault raised.  It is
safe in every thread.  Any other fault gets the default action back and happens again.

`run(table, count)` makes system calls and copies, one after the other.  An entry is eight quadwords: the number of the
system call (or a negative one: a copy), its six arguments, and room for its result.

`serve(mailbox, table, stack)` never returns: it runs the table as often as it is told.  A mailbox is three 32-bit
words: what is the matter (0 nothing yet, 1 run the table, 2 it has been run), how many entries, and the pid that has to
be the parent's.  clone(2) as an entry makes another process that serves, at the mailbox that is the sixth argument,
which clone() does not look at; it ends with its parent.

The offsets of the saved registers in a ucontext (168 RIP, 144 RAX) follow arch/x86/include/uapi/asm/sigcontext.h.
"""

from __future__ import annotations

from typing import Final

LISTING: Final = """
copy:
    48 89 d1                 mov rcx, rdx
    31 c0                    xor eax, eax
moving:
    f3 a4                    rep movsb
    c3                       ret
restorer:
    b8 0f 00 00 00           mov eax, 15
    0f 05                    syscall
run:
    53                       push rbx
    55                       push rbp
    48 89 fb                 mov rbx, rdi
    48 89 f5                 mov rbp, rsi
next:
    48 85 ed                 test rbp, rbp
    74 34                    je end
    48 8b 03                 mov rax, [rbx]
    48 8b 7b 08              mov rdi, [rbx+8]
    48 8b 73 10              mov rsi, [rbx+16]
    48 8b 53 18              mov rdx, [rbx+24]
    4c 8b 53 20              mov r10, [rbx+32]
    4c 8b 43 28              mov r8, [rbx+40]
    4c 8b 4b 30              mov r9, [rbx+48]
    48 85 c0                 test rax, rax
    78 17                    js copies
    83 f8 38                 cmp eax, 56
    74 19                    je forks
    0f 05                    syscall
done:
    48 89 43 38              mov [rbx+56], rax
    48 83 c3 40              add rbx, 64
    48 ff cd                 dec rbp
    eb c7                    jmp next
end:
    5d                       pop rbp
    5b                       pop rbx
    c3                       ret
copies:
    e8 a8 ff ff ff           call copy
    eb e9                    jmp done
forks:
    0f 05                    syscall
    48 85 c0                 test rax, rax
    75 e2                    jne done
    4d 89 cc                 mov r12, r9
    b8 9d 00 00 00           mov eax, 157
    bf 01 00 00 00           mov edi, 1
    be 09 00 00 00           mov esi, 9
    0f 05                    syscall
    b8 6e 00 00 00           mov eax, 110
    0f 05                    syscall
    41 3b 44 24 08           cmp eax, [r12+8]
    74 10                    je wait
    b8 e7 00 00 00           mov eax, 231
    0f 05                    syscall
serve:
    49 89 fc                 mov r12, rdi
    49 89 f5                 mov r13, rsi
    48 89 d4                 mov rsp, rdx
wait:
    41 8b 14 24              mov edx, [r12]
    83 fa 01                 cmp edx, 1
    74 11                    je go
    b8 ca 00 00 00           mov eax, 202
    4c 89 e7                 mov rdi, r12
    31 f6                    xor esi, esi
    45 31 d2                 xor r10d, r10d
    0f 05                    syscall
    eb e6                    jmp wait
go:
    4c 89 ef                 mov rdi, r13
    41 8b 74 24 04           mov esi, [r12+4]
    e8 55 ff ff ff           call run
    41 c7 04 24 02 00 00 00  mov dword ptr [r12], 2
    b8 ca 00 00 00           mov eax, 202
    4c 89 e7                 mov rdi, r12
    be 01 00 00 00           mov esi, 1
    ba 01 00 00 00           mov edx, 1
    0f 05                    syscall
    eb bb                    jmp wait
handler:
    48 8d 05 26 ff ff ff     lea rax, [rip + moving]
    48 39 82 a8 00 00 00     cmp [rdx+168], rax
    75 12                    jne theirs
    48 83 82 a8 00 00 00 02  add qword ptr [rdx+168], 2
    89 f8                    mov eax, edi
    48 89 82 90 00 00 00     mov [rdx+144], rax
    c3                       ret
theirs:
    48 8d 35 10 00 00 00     lea rsi, [rip + nothing]
    31 d2                    xor edx, edx
    41 ba 08 00 00 00        mov r10d, 8
    b8 0d 00 00 00           mov eax, 13
    0f 05                    syscall
    c3                       ret
nothing:
"""
ZEROS: Final = bytes(64)
"""What follows: to the code in front of it a struct sigaction of SIG_DFL."""


def assembled() -> tuple[bytes, dict[str, int]]:
    """The code, and where in it each label is."""
    code = b""
    labels = {}
    for line in LISTING.strip().splitlines():
        if line.endswith(":"):
            labels[line[:-1]] = len(code)
        else:
            code += bytes.fromhex(line.strip().partition("  ")[0])
    return code + ZEROS, labels
