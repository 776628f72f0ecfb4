"""A probe of what code can reach. A service imports it in its sandbox; standard library only."""

from __future__ import annotations

import ctypes
import errno
import os
import posix
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

Question = Mapping[str, Sequence[str]]
"""What to try: ``addresses`` (host:port), ``sockets``, ``readable``, ``writable``, ``listed``."""

DONE = "done"
MOST = 10_000
_TIMEOUT_S = 2.0
# System call numbers of x86-64. With these arguments a call fails by itself if it is allowed.
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "setuid": (105, (0,)),
    "chown": (92, (0, 0, 0)),
    "chroot": (161, (0,)),
    "mount": (165, (0, 0, 0, 0, 0)),
    "unshare": (272, (0x10000000,)),
    "ptrace": (101, (3, 1, 0, 0)),
    "process_vm_readv": (310, (1, 0, 0, 0, 0, 0)),
    "kexec_load": (246, (0, 0, 0, 0)),
    "init_module": (175, (0, 0, 0)),
    "io_uring_setup": (425, (0, 0)),
    "userfaultfd": (323, (-1,)),
    "bpf": (321, (-1, 0, 0)),
    "perf_event_open": (298, (0, 0, -1, -1, 0)),
    "add_key": (248, (0, 0, 0, 0, 0)),
    "personality": (135, (0x0040000,)),
    "setpriority": (141, (0, 0, -5)),
    "open_by_handle_at": (304, (-1, 0, 0)),
}


def outcome(act: Callable[[], object]) -> str:
    """Run an action; return ``done``, or the name of the error number."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return DONE


def connect(address: str, port: int) -> None:
    """Connect by TCP, and close the connection."""
    with closing(socket.socket(socket.AF_INET)) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect((address, port))


def connect_unix(path: str) -> None:
    """Connect to a Unix socket, and close the connection."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(path)


def read(path: str) -> None:
    """Read the first byte of a file, or list a directory."""
    if Path(path).is_dir():
        list(Path(path).iterdir())
    else:
        with Path(path).open("rb") as stream:
            stream.read(1)


def write(directory: str) -> None:
    """Create a file in a directory, and remove it."""
    file = Path(directory) / f"reach-{os.getpid()}"
    file.write_text("x")
    file.unlink()


def call(name: str) -> None:
    """Call a system call that only a privileged process needs."""
    number, arguments = _CALLS[name]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *(ctypes.c_long(each) for each in arguments)) == -1:
        raise OSError(ctypes.get_errno(), name)


def reach(question: Question) -> dict[str, str]:
    """Return the result of each action: ``done``, or the name of an error."""
    acts: dict[str, Callable[[], object]] = {"kill 1": partial(os.kill, 1, 0)}
    for host in question["addresses"]:
        address, _colon, port = host.partition(":")
        acts[f"connect {host}"] = partial(connect, address, int(port))
    acts |= {f"connect {path}": partial(connect_unix, path) for path in question["sockets"]}
    acts |= {f"read {path}": partial(read, path) for path in question["readable"]}
    acts |= {f"write {path}": partial(write, path) for path in question["writable"]}
    acts |= {f"call {name}": partial(call, name) for name in _CALLS}
    return {name: outcome(act) for name, act in acts.items()}


def listed(directories: Sequence[str]) -> dict[str, list[str]]:
    """Return the names in each directory."""
    return {path: sorted(each.name for each in Path(path).glob("*")) for path in directories}


def processes() -> list[str]:
    """Return the command lines of all visible processes."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(place.read_text().replace("\0", " ").strip())
        except OSError:
            continue
    return sorted(found)


def environ() -> list[str]:
    """Return the names in the initial environment of this process or its master."""
    rows = Path("/proc/self/environ").read_text().split("\0")
    return sorted(row.partition("=")[0] for row in rows if row)


def swarm(hold_s: float) -> int:
    """Start processes until one fails, keep them for ``hold_s``, end them; return their number."""
    started: list[int] = []
    try:
        while len(started) < MOST:
            # Not that of `os`: in a worker it is gevent's, which is for gevent's own thread only.
            started.append(posix.posix_spawn("/bin/sleep", ["sleep", "60"], {}))
    except OSError:
        time.sleep(hold_s)
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        posix.waitpid(pid, 0)
    return len(started)


def swallow(size_mib: int) -> int:
    """Allocate ``size_mib`` MiB of memory; return the number of bytes."""
    return sum(len(block) for block in [bytearray(b"x" * 2**20) for _ in range(size_mib)])


def facts(question: Question) -> dict[str, object]:
    """Return all findings for a test, in one answer."""
    return {
        "reach": reach(question),
        "listed": listed(question["listed"]),
        "processes": processes(),
        "environ": environ(),
        "uid": os.getuid(),
    }
