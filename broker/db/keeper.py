"""Runs one command for as long as the process that started it lives, under an ordinary user.

A script of the standard library alone, started with ``python -I -S keeper.py``. Its standard input
is a pipe whose other end the starter holds: however that process ends, the pipe closes, and the
command is told to stop. It is in a session of its own, so a terminal's Ctrl-C is not for it: the
broker stops first, and then its database.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from typing import Final

_CAP_DAC_OVERRIDE: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522


def become(user: int, *, reach_everywhere: bool) -> None:
    """Give up root for good; PostgreSQL refuses to run as root.

    ``reach_everywhere`` keeps the one capability to pass folders that are closed to others, for a
    checkout below root's own home. It gives nothing that the starter did not have.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if reach_everywhere:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:  # the owner of the data, whom this machine does not know
        group = user
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if reach_everywhere:
        bit = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
        # Effective, permitted and inheritable, for capabilities 0 to 31 and then 32 to 63.
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        if (
            libc.capset(header, data) != 0
            or libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0) != 0
        ):
            sys.exit("this folder is closed to other users, and root has no CAP_DAC_OVERRIDE")


def keep(command: list[str]) -> int:
    """Run the command until it ends, or until standard input does; return its exit code."""
    # SIGINT is PostgreSQL's fast shutdown: sessions are ended, everything is on disk.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)  # noqa: S603 — ours
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.send_signal(signal.SIGINT))

    def follow() -> None:
        while os.read(0, 1):
            pass
        # Popen knows whether the child was reaped, so no stranger with its number is hit.
        child.send_signal(signal.SIGINT)

    threading.Thread(target=follow, daemon=True).start()
    return child.wait()


def main(arguments: list[str]) -> int:
    """Carry out ``[--user NUMBER] [--reach-everywhere] [--remove FOLDER] COMMAND…``."""
    user, reach_everywhere, temporary = None, False, None
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option == "--user":
            user = int(arguments.pop(0))
        elif option == "--remove":
            temporary = arguments.pop(0)
        else:
            reach_everywhere = True
    os.umask(0o077)
    if user is not None:
        become(user, reach_everywhere=reach_everywhere)
    try:
        return keep(arguments)
    finally:
        if temporary is not None:  # the starter may be gone
            shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
