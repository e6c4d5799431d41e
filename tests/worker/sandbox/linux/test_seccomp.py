"""The filter program, run by a small interpreter of BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from worker.sandbox.linux import argument_rules, own_calls, seccomp, syscall_table

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x50000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NUMBERS: dict[str, dict[str, int]] = {"x86_64": {}, "aarch64": {}}
for _name, *_numbers in (*own_calls.OWN, *syscall_table.RULED):
    for _machine, _number in zip(syscall_table.MACHINES, _numbers, strict=True):
        if _number is not None:
            NUMBERS[_machine][_name] = _number


def evaluate(program: bytes, machine: str, number: int, *args: int, arch: int | None = None) -> int:
    """What the kernel would answer to a call."""
    padded = [arg & (1 << 64) - 1 for arg in (*args, *[0] * 6)][:6]
    data = struct.pack("<iIQ6Q", number, ARCH[machine] if arch is None else arch, 0, *padded)
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    position, word = 0, 0
    while True:
        operation, then, otherwise, value = code[position]
        position += 1
        if operation == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:
            word &= value
        elif operation == 0x05:
            position += value
        elif operation == 0x15:
            position += then if word == value else otherwise
        elif operation == 0x35:
            position += then if word >= value else otherwise
        elif operation == 0x06:
            return int(value)
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")


def build(machine: str, **options: bool) -> bytes:
    """A filter with everything granted that is not refused here."""
    return seccomp.build(machine, **{"inet": True, "unix": True, "ipc": True, "unseen_memory": True, **options})


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_listed_call_is_refused(machine: str) -> None:
    """Each row of the table gives EPERM, on each architecture; an ordinary call passes."""
    program = build(machine)
    for number in syscall_table.numbers(machine, syscall_table.DENIED):
        assert evaluate(program, machine, number) == ERRNO | errno.EPERM
    for number in syscall_table.numbers(machine, syscall_table.ABSENT):
        assert evaluate(program, machine, number) == ERRNO | errno.ENOSYS
    for number in syscall_table.numbers(machine, syscall_table.IGNORED):
        assert evaluate(program, machine, number) == ERRNO
    for number in syscall_table.numbers(machine, syscall_table.LOCKS):
        assert evaluate(program, machine, number) == ERRNO | errno.ENOLCK
    for number in syscall_table.numbers(machine, own_calls.OWN):
        assert evaluate(program, machine, number) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_call_in_no_table_does_not_exist(machine: str) -> None:
    """What nobody has looked at, and what a later kernel brings, is answered as by a kernel without it."""
    tables = [value for name, value in vars(syscall_table).items() if name.isupper() and name != "MACHINES"]
    rows = [row[0] if isinstance(row[0], tuple) else row for table in tables for row in table]
    listed = {*syscall_table.numbers(machine, (*rows, *own_calls.OWN))}
    program = build(machine)
    unlisted = [number for number in (*range(1024), 0x3FFFFFFF) if number not in listed]
    assert len(listed) > 280
    assert {evaluate(program, machine, number) for number in unlisted} == {ERRNO | errno.ENOSYS}


def test_no_call_is_in_two_tables_that_contradict_each_other() -> None:
    """A call is either the cell's own, ruled on by its arguments, or refused."""
    names = [row[0] for row in (*own_calls.OWN, *syscall_table.RULED, *syscall_table.DENIED, *syscall_table.ABSENT)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_another_architecture_is_killed(machine: str) -> None:
    """Numbers of another architecture mean other calls."""
    assert evaluate(build(machine), machine, 0, arch=0x40000003) == KILL


def test_x32_numbers_are_refused() -> None:
    """The x32 table must not be a way round."""
    assert evaluate(build("x86_64"), "x86_64", 0x40000000 | 101) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_arguments_decide(machine: str) -> None:
    """Threads may be made, namespaces and sisters not; families and types of sockets are chosen."""
    numbers, program = NUMBERS[machine], build(machine)
    eperm, family = ERRNO | errno.EPERM, ERRNO | errno.EAFNOSUPPORT
    assert evaluate(program, machine, numbers["clone"], 0x3D0F00) == ALLOW
    assert evaluate(program, machine, numbers["clone"], 0x400 | 17) == eperm  # descriptors shared with a process
    for flag in (0x8000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert evaluate(program, machine, numbers["clone"], flag | 17) == eperm
    assert evaluate(program, machine, 435) == ERRNO | errno.ENOSYS
    for allowed in (1, 2, 10):
        assert evaluate(program, machine, numbers["socket"], allowed, 1) == ALLOW
    for refused in (15, 16, 17, 21, 29, 30, 31, 38, 40, 44):
        assert evaluate(program, machine, numbers["socket"], refused, 3) == family
    assert evaluate(program, machine, numbers["socketpair"], 1, 1 | 0x80000) == ALLOW
    assert evaluate(program, machine, numbers["socketpair"], 1, 2) == eperm
    assert evaluate(program, machine, numbers["prctl"], 4, 0) == eperm
    assert evaluate(program, machine, numbers["prctl"], 4, 1) == ALLOW
    for other in (22, 35, 62, 67):  # PR_SET_SECCOMP, PR_SET_MM, PR_SCHED_CORE, PR_SET_MEMORY_MERGE
        assert evaluate(program, machine, numbers["prctl"], other, 1) == ERRNO | errno.EINVAL
    for refused in (0x5412, 0x541C, 0x40086602, 0x401C5820, 0xC0045877):  # TIOCSTI, TIOCLINUX, attributes, freezing
        assert evaluate(program, machine, numbers["ioctl"], 0, refused) == ERRNO | errno.ENOTTY
    assert evaluate(program, machine, numbers["ioctl"], 0, 0x541B) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_without_namespaces_there_are_no_sockets(machine: str) -> None:
    """Where the filter is the only wall, nothing that reaches the host can be made."""
    program = build(machine, inet=False, unix=False, ipc=False, unseen_memory=False)
    for family in range(64):
        answer = evaluate(program, machine, NUMBERS[machine]["socket"], family, 1)
        assert answer == ERRNO | errno.EAFNOSUPPORT
    for number in syscall_table.numbers(machine, syscall_table.SHARED_OBJECTS, syscall_table.UNSEEN_MEMORY):
        assert evaluate(program, machine, number) == ERRNO | errno.ENOSYS
        assert evaluate(build(machine), machine, number) == ALLOW
    for number in syscall_table.numbers(machine, syscall_table.PASSING):
        assert evaluate(program, machine, number) == ERRNO | errno.EPERM
        assert evaluate(build(machine, unix=False), machine, number) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_files_of_the_worker_keep_modes_and_owners(machine: str) -> None:
    """Where the cell's user owns files of the host, what changes them without opening them does nothing."""
    for shared in (True, False):
        program = build(machine, shared_owner=shared)
        for table, error in (
            (syscall_table.MODES, 0),
            (syscall_table.OWNERS, errno.EPERM),
            (syscall_table.ATTRIBUTES, errno.EOPNOTSUPP),
        ):
            for number in syscall_table.numbers(machine, table):
                assert evaluate(program, machine, number) == (ERRNO | error if shared else ALLOW)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_processes_of_the_worker_keep_their_priorities(machine: str) -> None:
    """Where the cell's user has other processes, it may set priorities, policies and affinities of itself alone."""
    eperm = ERRNO | errno.EPERM
    shared, own = build(machine, shared_owner=True), build(machine)
    for number in syscall_table.numbers(machine, syscall_table.ON_PROCESSES):
        assert [evaluate(shared, machine, number, pid) for pid in (0, 1, 4242)] == [ALLOW, eperm, eperm]
        assert evaluate(own, machine, number, 4242) == ALLOW
    for call, kind in syscall_table.ON_KINDS:
        (number,) = syscall_table.numbers(machine, (call,))
        assert evaluate(shared, machine, number, kind, 0) == ALLOW
        for others in ((kind, 4242), (kind + 1, 0), (kind + 2, 0)):
            assert evaluate(shared, machine, number, *others) == eperm


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_only_usual_protocols(machine: str) -> None:
    """A protocol that would make the kernel load a module is refused."""
    program, number = build(machine), NUMBERS[machine]["socket"]
    for family in (2, 10):
        for protocol in (0, 6, 17):
            assert evaluate(program, machine, number, family, 1, protocol) == ALLOW
        for protocol in (33, 132, 136, 255, 262):
            assert evaluate(program, machine, number, family, 1, protocol) == ERRNO | errno.EPROTONOSUPPORT


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_commands_on_files_are_those_about_what_the_cell_opened(machine: str) -> None:
    """Of fcntl() no leases, no notices of what others do, no locks that belong to no process."""
    number = NUMBERS[machine]["fcntl"]
    private, shared = build(machine), build(machine, ipc=False)
    for command in argument_rules.FCNTL:
        assert evaluate(private, machine, number, 3, command) == evaluate(shared, machine, number, 3, command) == ALLOW
    for command in (36, 37, 38, 1024, 1025, 1026, 1035, 1036, 1037, 1038, 1039, 1040):
        assert evaluate(private, machine, number, 3, command) == ERRNO | errno.EINVAL
    for command in argument_rules.FCNTL_OWNERS:
        assert evaluate(private, machine, number, 3, command) == ALLOW
        assert evaluate(shared, machine, number, 3, command) == ERRNO | errno.EINVAL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_limit_of_core_files_stays(machine: str) -> None:
    """Setting it, by either call and at any address, is refused; reading it and other limits work."""
    program, numbers = build(machine), NUMBERS[machine]
    for address in (1, 1 << 32, 0x7FFF_0000_0000):
        assert evaluate(program, machine, numbers["prlimit64"], 0, 4, address) == ERRNO | errno.EPERM
        assert evaluate(program, machine, numbers["prlimit64"], 0, 7, address) == ALLOW
        assert evaluate(program, machine, numbers["prlimit64"], 1, 7, address) == ERRNO | errno.EPERM
    assert evaluate(program, machine, numbers["prlimit64"], 0, 4, 0, 1) == ALLOW
    assert evaluate(program, machine, numbers["setrlimit"], 4, 1) == ERRNO | errno.EPERM
    assert evaluate(program, machine, numbers["setrlimit"], 3, 1) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_pages_that_all_readers_share_are_let_alone(machine: str) -> None:
    """Nothing is dropped from the page cache, found out about it, or merged with what others have."""
    program, numbers = build(machine), NUMBERS[machine]
    assert evaluate(program, machine, numbers["fadvise64"], 3, 0, 0, 4) == ERRNO
    assert evaluate(program, machine, numbers["fadvise64"], 3, 0, 0, 2) == ALLOW
    assert evaluate(program, machine, numbers["madvise"], 0, 4096, 12) == ERRNO | errno.EINVAL
    assert evaluate(program, machine, numbers["madvise"], 0, 4096, 4) == ALLOW
    for name in ("preadv2", "pwritev2"):
        for flags, answer in ((0, ALLOW), (2, ALLOW), (8, ERRNO | errno.EOPNOTSUPP), (0x80, ERRNO | errno.EOPNOTSUPP)):
            assert evaluate(program, machine, numbers[name], 3, 0, 0, 0, 0, flags) == answer
