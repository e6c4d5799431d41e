"""Namespaces and mounts: the zygote's jail, and the private part that each cell gets on top of it.

The zygote enters its user, mount and process namespaces before it imports anything (a library that starts a thread
makes that impossible), builds a read-only root of interpreter and libraries and locks itself in. A cell then needs
only its own scratch mounts, which is what makes it cheap.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from . import procfs, syscalls

#: what a process of the jail may be called inside
INSIDE_UID: Final = 1000
#: scratch space: one file system, so that one size bounds work folder and /tmp together
AREA: Final = "/sandbox"
HOME: Final = f"{AREA}/home"
WRITABLE: Final = (HOME, "/tmp", "/dev/shm")  # noqa: S108 - the cell's own tmpfs
DEVICES: Final = ("null", "zero", "full", "random", "urandom")

#: programs, libraries and public data of the system; of /usr/local and /usr the same parts
_USR_PARTS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share/zoneinfo", "share/fonts", "share/locale")
_SYSTEM: Final = (
    *(f"/usr/{part}" for part in _USR_PARTS),
    *(f"/usr/local/{part}" for part in _USR_PARTS),
    "/usr/share/ca-certificates",
    "/usr/share/tcltk",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/fonts",
)
_ROOT_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64")
_COPIED: Final = (
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    *("/etc/services", "/etc/protocols"),  # what socket.getservbyname() and getprotobyname() read
)
_NETWORK_FILES: Final = ("/etc/resolv.conf", "/etc/hosts")
_WRITTEN: Final = {
    "/etc/passwd": f"sandbox:x:{INSIDE_UID}:{INSIDE_UID}::{HOME}:/bin/sh\n",
    "/etc/group": f"sandbox:x:{INSIDE_UID}:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    # the host's own take their place, where it has them
    "/etc/services": "".join(
        f"{name} {port}/tcp\n{name} {port}/udp\n"
        for name, port in {
            **{"echo": 7, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "http": 80, "pop3": 110},
            **{"ntp": 123, "imap2": 143, "ldap": 389, "https": 443, "imaps": 993, "pop3s": 995, "postgresql": 5432},
        }.items()
    ),
    "/etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
}
_OWN_FLAGS: Final = syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
_JAIL_FLAGS: Final = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC


def library_roots() -> list[str]:
    """Folders of this interpreter and its libraries outside of the system's own, outermost first.

    Folders that merely stand on ``sys.path`` (a checkout installed in place, say) are left out: what else lies in
    them is nobody's business.
    """
    wanted = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *site.getsitepackages()}
    wanted |= {path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))}
    executable = Path(sys.executable)
    while executable.is_symlink():  # every hop must resolve inside, too
        target = executable.readlink()
        executable = target if target.is_absolute() else executable.parent / target
        wanted.add(str(executable.parent.parent))
    wanted |= {os.path.realpath(path) for path in wanted}
    covered = (*_SYSTEM, *(f"/{name}" for name in _ROOT_LINKS))
    roots: list[str] = []
    for path in sorted(path for path in wanted if os.path.isdir(path)):  # noqa: PTH112 - str paths throughout
        if path in ("/", "/usr", "/usr/local") or _below(path, covered) or _below(path, roots):
            continue
        roots.append(path)
    return roots


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def readable_roots() -> list[str]:
    """Everything of the host that a cell may read."""
    links = [f"/{name}" for name in _ROOT_LINKS]
    return [path for path in (*_SYSTEM, *links, *library_roots()) if Path(path).exists()]


class Jail:
    """The zygote's own namespaces and its read-only root."""

    def __init__(self, *, network: bool) -> None:
        """Prepare, touching nothing yet.

        Args:
            network: some cells may get the host's network, so its name service files are needed.
        """
        self._copies = _COPIED + (_NETWORK_FILES if network else ())

    def enter(self, write_maps: Callable[[], None]) -> None:
        """Leave the host's namespaces; the caller must fork to become process 1 of the new one.

        Args:
            write_maps: gives this process its user and group in the new user namespace.
        """
        syscalls.unshare(_JAIL_FLAGS)
        write_maps()
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)

    def build(self, become: Callable[[], None]) -> None:
        """Make the root and move into it.

        Args:
            become: takes the zygote's unprivileged identity, once what needs the former one is open.
        """
        trees = {path: syscalls.open_tree(path) for path in (*_SYSTEM, *library_roots()) if os.path.isdir(path)}  # noqa: PTH112
        devices = {name: syscalls.open_tree(f"/dev/{name}") for name in DEVICES}
        links = self._root_links(trees)
        copies = {path: data for path in self._copies if (data := _read(path)) is not None}
        for tree in trees.values():
            syscalls.restrict_mount(tree, "ro", "nosuid", "nodev")
        for tree in devices.values():
            syscalls.restrict_mount(tree, "nosuid", "noexec")
        become()
        base = next(path for path in ("/tmp", "/mnt", "/var/tmp", "/home") if Path(path).is_dir())  # noqa: S108
        syscalls.mount("tmpfs", base, "tmpfs", syscalls.MS_NOSUID, "size=16m,nr_inodes=4k,mode=0755")
        os.chdir(base)
        for path, tree in trees.items():
            target = path.lstrip("/")
            Path(target).mkdir(parents=True, exist_ok=True)
            syscalls.move_mount(tree, target)
            os.close(tree)
        for name, destination in links.items():
            Path(name).symlink_to(destination)
        self._furnish(devices, copies)
        syscalls.pivot_root(".", ".")
        syscalls.unmount(".")
        os.chdir("/")
        syscalls.syscall(syscalls.MOUNT_SETATTR, -100, b"/", 0, _RDONLY, len(_RDONLY))

    def _root_links(self, trees: dict[str, int]) -> dict[str, str]:
        links = {}
        for name in _ROOT_LINKS:
            path = Path("/", name)
            if path.is_symlink():
                links[name] = str(path.readlink())
            elif path.is_dir():
                trees[str(path)] = syscalls.open_tree(str(path))
        return links

    def _furnish(self, devices: dict[str, int], copies: dict[str, bytes]) -> None:
        for folder in ("dev/shm", "proc", AREA.lstrip("/"), "tmp", "etc", "run", "var"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        Path("var/tmp").symlink_to("/tmp")  # noqa: S108
        for name, tree in devices.items():
            Path("dev", name).touch()
            syscalls.move_mount(tree, f"dev/{name}")
            os.close(tree)
        for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
            Path("dev", name).symlink_to("/proc/self/fd" + target)
        for path, text in _WRITTEN.items():
            Path(path.lstrip("/")).write_text(text)
        for path, data in copies.items():
            Path(path.lstrip("/")).write_bytes(data)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("proc", "proc", "proc", flags | syscalls.MS_NOEXEC)
        # the zygote's own scratch; each cell mounts its own over it
        syscalls.mount("tmpfs", AREA.lstrip("/"), "tmpfs", flags, "size=16m,nr_inodes=1k,mode=0755")


_RDONLY: Final = (1).to_bytes(8, sys.byteorder) + bytes(24)


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def roots_below_tmp() -> list[str]:
    """Library folders that a cell's own /tmp would hide: an environment somebody made in /tmp."""
    return [root for root in library_roots() if root.startswith("/tmp/")]  # noqa: S108


def build_namespaces(uid: int, hidden: list[str], *, disk_mb: int, inodes: int, shm_mb: int) -> list[int]:
    """Move the calling process to a new mount namespace, with the scratch space of one cell, and its next child to a
    new namespace of processes.

    Args:
        uid: the cell's user and group in the zygote's user namespace.
        hidden: from :func:`roots_below_tmp`.
        disk_mb: megabytes of home and temporary folder together.
        inodes: files and folders in them.
        shm_mb: megabytes of ``/dev/shm``.

    Returns:
        path descriptors of the scratch file systems, whose use counts as memory
    """
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    mount_flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    owner = f"uid={uid},gid={uid}"
    area = f"size={disk_mb}m,nr_inodes={inodes},mode=0755,{owner}"
    syscalls.mount("tmpfs", AREA, "tmpfs", mount_flags, area)
    for folder in (HOME, f"{AREA}/tmp"):  # noqa: S108
        os.mkdir(folder, 0o700)  # noqa: PTH102 - a standby is made hundreds of times a second
        os.chown(folder, uid, uid)
    kept = {root: syscalls.open_tree(root) for root in hidden}
    syscalls.mount(f"{AREA}/tmp", "/tmp", None, syscalls.MS_BIND)  # noqa: S108
    for root, tree in kept.items():
        os.makedirs(root, 0o755, exist_ok=True)  # noqa: PTH103
        syscalls.move_mount(tree, root)
        os.close(tree)
    shm = f"size={shm_mb}m,nr_inodes=1k,mode=1777"
    syscalls.mount("tmpfs", "/dev/shm", "tmpfs", mount_flags | syscalls.MS_NOEXEC, shm)  # noqa: S108
    return [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (AREA, "/dev/shm")]  # noqa: S108


def move_in(uid: int, *, network: bool) -> None:
    """The cell's own part, once its process is in its namespaces: the namespaces that need no process before it.

    Args:
        uid: as for :func:`build_namespaces`.
        network: stay in the host's network namespace.
    """
    syscalls.unshare(_OWN_FLAGS if network else _OWN_FLAGS | syscalls.CLONE_NEWNET)
    syscalls.set_hostname("sandbox")
    if not network:
        with contextlib.suppress(OSError):  # without it only programs that talk to themselves notice
            syscalls.loopback_up()
    # shows the namespace of processes of whoever mounts it
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    # a user namespace of its own makes the process limit count this run alone, and holds no capability outside
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    write_own_maps(uid)


def write_own_maps(outer: int, outer_group: int | None = None) -> None:
    """Map the calling process to the usual inside user, which every process may do for itself."""
    procfs.write("/proc/self/setgroups", "deny")
    procfs.write("/proc/self/uid_map", f"{INSIDE_UID} {outer} 1")
    procfs.write("/proc/self/gid_map", f"{INSIDE_UID} {outer if outer_group is None else outer_group} 1")
