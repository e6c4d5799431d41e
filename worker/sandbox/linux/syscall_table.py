"""The system calls that the filter refuses or rules on, by name and by number on each architecture."""

from __future__ import annotations

from typing import Final

#: name, number on x86_64, number on aarch64; None: not on that architecture
Call = tuple[str, int | None, int | None]
MACHINES: Final = ("x86_64", "aarch64")

#: refused with EPERM wherever they exist
DENIED: Final[tuple[Call, ...]] = (
    # other processes' memory, descriptors and registers
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("kcmp", 312, 272),
    ("pidfd_getfd", 438, 438),
    ("process_madvise", 440, 440),
    ("process_mrelease", 448, 448),
    # keys outlive the process that made them
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("keyctl", 250, 219),
    # large attack surface of the kernel; io_uring also goes round this filter
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    # namespaces and mounts
    ("setns", 308, 268),
    ("unshare", 272, 97),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fspick", 433, 433),
    ("mount_setattr", 442, 442),
    ("statmount", 457, 457),
    ("listmount", 458, 458),
    ("open_tree_attr", 467, 467),
    ("open_by_handle_at", 304, 265),
    ("fanotify_init", 300, 262),
    ("fanotify_mark", 301, 263),
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    # the machine
    ("kexec_load", 246, 104),
    ("kexec_file_load", 320, 294),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("delete_module", 176, 106),
    ("create_module", 174, None),
    ("swapon", 167, 224),
    ("swapoff", 168, 225),
    ("reboot", 169, 142),
    ("acct", 163, 89),
    ("syslog", 103, 116),
    ("settimeofday", 164, 170),
    ("clock_settime", 227, 112),
    ("clock_adjtime", 305, 266),
    ("adjtimex", 159, 171),
    ("sethostname", 170, 161),
    ("setdomainname", 171, 162),
    ("vhangup", 153, 58),
    ("iopl", 172, None),
    ("ioperm", 173, None),
    ("modify_ldt", 154, None),
    ("uselib", 134, None),
    ("ustat", 136, None),
    ("sysfs", 139, None),
    ("_sysctl", 156, None),
    ("nfsservctl", 180, 42),
    ("lookup_dcookie", 212, 18),
    # memory placement: side channels between neighbours
    ("mbind", 237, 235),
    ("set_mempolicy", 238, 237),
    ("migrate_pages", 256, 238),
    ("move_pages", 279, 239),
    ("set_mempolicy_home_node", 450, 450),
)
#: refused as if the kernel were too old, so that libraries take their other way
ABSENT: Final[tuple[Call, ...]] = (
    ("clone3", 435, 435),
    ("memfd_secret", 447, 447),
    # the kernel gives all cells together, and their worker, the few hundred of one user
    ("inotify_init", 253, None),
    ("inotify_init1", 294, 26),
    # of contexts for asynchronous input and output the whole machine has fs.aio-max-nr
    ("io_setup", 206, 0),
    # which files others have read lately
    ("cachestat", 451, 451),
)
#: locks that ask for no more than a descriptor that reads: they would hold up programs of the host
LOCKS: Final[tuple[Call, ...]] = (("flock", 73, 32),)
#: those whose arguments say whose resource they are about
RULED: Final[tuple[Call, ...]] = (
    ("clone", 56, 220),
    ("socket", 41, 198),
    ("socketpair", 53, 199),
    ("fcntl", 72, 25),
    ("ioctl", 16, 29),
    ("prctl", 157, 167),
    ("prlimit64", 302, 261),
    ("setrlimit", 160, 164),
    ("personality", 135, 92),
    ("fadvise64", 221, 223),
    ("madvise", 28, 233),
    ("preadv2", 327, 286),
    ("pwritev2", 328, 287),
)
#: done by doing nothing: they would make every disk of the machine write, and a cell's files need not outlive it
IGNORED: Final[tuple[Call, ...]] = (("sync", 162, 81), ("syncfs", 306, 267))
#: objects that outlive the run, and those of others by their numbers; refused only where there is no ipc namespace
SHARED_OBJECTS: Final[tuple[Call, ...]] = (
    ("shmget", 29, 194),
    ("shmat", 30, 196),
    ("shmctl", 31, 195),
    ("msgget", 68, 186),
    ("msgsnd", 69, 189),
    ("msgrcv", 70, 188),
    ("msgctl", 71, 187),
    ("semget", 64, 190),
    ("semop", 65, 193),
    ("semtimedop", 220, 192),
    ("semctl", 66, 191),
    ("mq_open", 240, 180),
    ("mq_unlink", 241, 181),
)
#: memory that sampling cannot see, because it is in no process's address space; refused only where there is no memory
#: cgroup. vmsplice makes a pipe hold a page, and with it the huge page around it, that its process has given back
UNSEEN_MEMORY: Final[tuple[Call, ...]] = (
    ("memfd_create", 319, 279),
    ("shmget", 29, 194),
    ("msgget", 68, 186),
    ("semget", 64, 190),
    ("vmsplice", 278, 75),
)
#: pass descriptors on, so that no process need have a removed file open that fills the disk; refused only where no file
#: system of the cell's own bounds that, and programs that talk to the network do not need them
PASSING: Final[tuple[Call, ...]] = (("sendmsg", 46, 211), ("sendmmsg", 307, 269))

#: changes of modes and times that a file's owner may make without opening it, which Landlock does not see. Only where
#: the cell's user is the worker's own, and then ignored as on a file system without them: copying a file must work
MODES: Final[tuple[Call, ...]] = (
    ("chmod", 90, None),
    ("fchmod", 91, 52),
    ("fchmodat", 268, 53),
    ("fchmodat2", 452, 452),
    ("utime", 132, None),
    ("utimes", 235, None),
    ("futimesat", 261, None),
    ("utimensat", 280, 88),
)
#: of the same kind, but with an error that programs know from such file systems
OWNERS: Final[tuple[Call, ...]] = (
    ("chown", 92, None),
    ("fchown", 93, 55),
    ("lchown", 94, None),
    ("fchownat", 260, 54),
)
ATTRIBUTES: Final[tuple[Call, ...]] = (
    ("setxattr", 188, 5),
    ("lsetxattr", 189, 6),
    ("fsetxattr", 190, 7),
    ("removexattr", 197, 14),
    ("lremovexattr", 198, 15),
    ("fremovexattr", 199, 16),
    ("setxattrat", 463, 463),
    ("removexattrat", 466, 466),
    ("file_setattr", 469, 469),
)
#: what acts on the process that the first argument names, or the second where the first is the kind given here; only
#: where the cell's user is the worker's own, and then only on the caller itself, which is 0
ON_PROCESSES: Final[tuple[Call, ...]] = (
    ("sched_setaffinity", 203, 122),
    ("sched_setscheduler", 144, 119),
    ("sched_setparam", 142, 118),
    ("sched_setattr", 314, 274),
)
ON_KINDS: Final[tuple[tuple[Call, int], ...]] = ((("setpriority", 141, 140), 0), (("ioprio_set", 251, 30), 1))


def numbers(machine: str, *tables: tuple[Call, ...]) -> list[int]:
    """The numbers of these calls on one architecture, each once."""
    column = 1 + MACHINES.index(machine)
    found = [number for table in tables for row in table if isinstance(number := row[column], int)]
    return list(dict.fromkeys(found))
