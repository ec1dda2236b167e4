"""Seccomp: the system calls a confined process is refused, with EPERM, as a small program for the kernel.

Refused is what reaches other processes, the network or the system, and what landlock does not rule. Everything else
stays allowed: a list of what Python, llama.cpp and Tesseract need would break with every new version of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

from studio.confinement.native import give_up_privileges, syscall

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE, UNKNOWN = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # where they stand in struct seccomp_data

_SET_FILTER = 1
_ALL_THREADS, _KEEP_SPECULATION = 1, 4
"""Without the second, kernels before 5.16 slow the whole process down."""

_NAMESPACES = 0x7E020000
_THREAD = 0x00010000
_TYPE_INTO_TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX."""
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class Machine:
    """How a kind of processor numbers system calls."""

    audit: int
    """The kernel's number of it."""
    seccomp: int
    column: int
    """Of `_CALLS`."""


MACHINES = {"x86_64": Machine(0xC000003E, 317, 0), "aarch64": Machine(0xC00000B7, 277, 1)}

_ABSENT = -1
_CALLS: dict[str, tuple[int, int]] = {
    # the network, and Unix sockets
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvmsg": (47, 212), "recvmmsg": (299, 243),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272), "move_pages": (279, 239),
    "migrate_pages": (256, 238), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130), "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    # memory and messages that processes share
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268),
    # doors into the kernel that faults are often found behind
    "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "userfaultfd": (323, 282), "personality": (135, 92),
    "modify_ldt": (154, _ABSENT), "fanotify_init": (300, 262),
    # the system
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116), "iopl": (172, _ABSENT),
    "ioperm": (173, _ABSENT), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    # files past landlock: by handle, and their modes, owners, times and attributes
    "open_by_handle_at": (304, 265), "mknod": (133, _ABSENT), "mknodat": (259, 33), "chmod": (90, _ABSENT),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, _ABSENT), "fchown": (93, 55),
    "lchown": (94, _ABSENT), "fchownat": (260, 54), "utime": (132, _ABSENT), "utimes": (235, _ABSENT),
    "futimesat": (261, _ABSENT), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466),
    # a program that no rule of landlock names
    "execveat": (322, 281),
}  # fmt: skip
_CALLS_TO_RUN: dict[str, tuple[int, int]] = {"execve": (59, 221), "fork": (57, _ABSENT), "vfork": (58, _ABSENT)}
"""Refused where nothing may be run."""
_CALLS_WHEN_RUNNING: dict[str, tuple[int, int]] = {"memfd_create": (319, 279), "memfd_secret": (447, 447)}
"""Refused where something may be run: landlock lets any program be run that lies in no file system."""
KILL_CALL, TGKILL, PRLIMIT, CLONE, CLONE3, IOCTL = (62, 129), (234, 131), (302, 261), (56, 220), (435, 435), (16, 29)


def machine() -> Machine | None:
    """The kind of processor this process was made for; None where there is no filter for it."""
    return MACHINES.get(platform.machine()) if sys.maxsize > 1 << 32 else None


def available() -> bool:
    """Whether the kernel takes filters and there is one for this processor."""
    here = machine()
    if here is None:
        return False
    try:
        allow = ctypes.create_string_buffer(struct.pack("=I", ALLOW), 4)
        return syscall(here.seccomp, 2, 0, allow) == 0
    except OSError:
        return False


def restrict(*, may_run: bool) -> None:
    """Refuse the calls to this process and what it starts; does nothing where `available` is False. Raises OSError."""
    here = machine()
    if here is None or not available():
        return
    program = filter_for(here, may_run=may_run, own=os.getpid(), parent=os.getppid())
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    fields = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    pointer = ctypes.create_string_buffer(fields, len(fields))
    give_up_privileges()
    try:
        syscall(here.seccomp, _SET_FILTER, _ALL_THREADS | _KEEP_SPECULATION, pointer)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 4.17
            raise
        syscall(here.seccomp, _SET_FILTER, _ALL_THREADS, pointer)


def filter_for(here: Machine, *, may_run: bool, own: int, parent: int) -> list[Instruction]:
    """The program of a process with these numbers, for a processor."""
    steps: list[Instruction] = [
        (LOAD, 0, 0, _MACHINE),
        (JUMP_EQUAL, 1, 0, here.audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, _NUMBER),
    ]
    if here is MACHINES["x86_64"]:
        steps += [(JUMP_AT_LEAST, 0, 1, _X32), (RETURN, 0, 0, REFUSE)]
    refused = {**_CALLS, **(_CALLS_WHEN_RUNNING if may_run else _CALLS_TO_RUN)}
    for numbers in refused.values():
        steps += _on(numbers[here.column], [(RETURN, 0, 0, REFUSE)])
    signals = _except_to(parent) if may_run else _only_to(own)
    for numbers in (KILL_CALL, TGKILL):
        steps += _on(numbers[here.column], [_argument(0), *signals])
    steps += _on(PRLIMIT[here.column], [_argument(0), *_only_to(0, own)])
    made = [_argument(0), (JUMP_ANY_BIT, 0, 1, _NAMESPACES), (RETURN, 0, 0, REFUSE)]
    if not may_run:  # threads only
        made += [(JUMP_ANY_BIT, 1, 0, _THREAD), (RETURN, 0, 0, REFUSE)]
    steps += _on(CLONE[here.column], [*made, (RETURN, 0, 0, ALLOW)])
    # Its flags lie in memory, where no filter can look; libraries then take the older call.
    steps += _on(CLONE3[here.column], [(RETURN, 0, 0, UNKNOWN)])
    typed = [step for code in _TYPE_INTO_TERMINAL for step in ((JUMP_EQUAL, 0, 1, code), (RETURN, 0, 0, REFUSE))]
    steps += _on(IOCTL[here.column], [_argument(1), *typed, (RETURN, 0, 0, ALLOW)])
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _on(number: int, then: list[Instruction]) -> list[Instruction]:
    """What to do about one call; it ends in a return. Nothing where the processor has no such call."""
    return [] if number == _ABSENT else [(JUMP_EQUAL, 0, len(then), number), *then]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument: processes, flags and requests are 32-bit numbers."""
    return (LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _only_to(*processes: int) -> list[Instruction]:
    allowed = [step for number in processes for step in ((JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW))]
    return [*allowed, (RETURN, 0, 0, REFUSE)]


def _except_to(parent: int) -> list[Instruction]:
    """To a process that is not the parent, and no group: one's own children have to be ended."""
    return [
        (JUMP_EQUAL, 0, 1, parent),
        (RETURN, 0, 0, REFUSE),
        (JUMP_EQUAL, 0, 1, 0),
        (RETURN, 0, 0, REFUSE),
        (JUMP_ANY_BIT, 0, 1, 1 << 31),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
