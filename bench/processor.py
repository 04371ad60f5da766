"""Processor time: it says more than the clock where others use the same processors."""

import os
from pathlib import Path


def process_seconds(pid: int | str) -> float:
    """Return what a process has used so far."""
    used = _fields(pid)
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def postgres_seconds(data: Path) -> float:
    """Return what the embedded PostgreSQL in this folder has used, connections that ended too."""
    server = (data / "postgres" / "postmaster.pid").read_text().split()[0]
    ended = sum(int(each) for each in _fields(server)[13:15]) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return ended + sum(_seconds_left(pid) for pid in (server, *children))


def _seconds_left(pid: str) -> float:
    try:
        return process_seconds(pid)
    except OSError:
        return 0.0  # it has just ended


def _fields(pid: int | str) -> list[str]:
    # The name before them is in parentheses, and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
