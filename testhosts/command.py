"""Run other programs, always with a list of arguments and a time limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from testhosts.errors import CommandError, TestHostError

# Includes sbin, which has ip, iptables and mkfs.ext4 and is missing in the PATH of some users.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of this process, with SYSTEM_PATH in PATH and English messages."""
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(extra or {})}


def missing_programs(*programs: str) -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in programs if not shutil.which(name, path=environment()["PATH"])]


def require(*programs: str) -> None:
    """Raise TestHostError unless all programs are installed."""
    missing = missing_programs(*programs)
    if missing:
        raise TestHostError(
            f"not installed on this machine: {', '.join(missing)}.",
            fix="run `python -m testhosts prerequisites` as root.",
        )


def require_root() -> None:
    """Raise TestHostError unless this process may create network devices and namespaces."""
    if os.geteuid() != 0:
        raise TestHostError(
            "test hosts need root, to create network devices, mounts and namespaces.",
            fix="run the same command as root.",
        )


def run(
    argv: list[str],
    *,
    timeout_s: float,
    check: bool = True,
    cwd: Path | None = None,
    extra_environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output.

    Raises:
        CommandError: the program failed (with ``check``) or took longer than ``timeout_s``.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            env=environment(extra_environment),
        )
    except FileNotFoundError as error:
        require(argv[0])
        raise CommandError(argv, f"did not start ({error})", "") from error
    except subprocess.TimeoutExpired as error:
        output = error.stdout if isinstance(error.stdout, str) else ""
        raise CommandError(argv, f"took longer than {timeout_s:g} s", output) from error
    if check and done.returncode != 0:
        raise CommandError(argv, f"ended with {done.returncode}", done.stderr or done.stdout)
    return done
