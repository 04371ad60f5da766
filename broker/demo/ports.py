"""Ports that are free: the usual ones where they are, their neighbours where they are not."""

import socket
from collections.abc import Collection
from typing import Final

_NEIGHBOURS: Final = 20  # tried before the system chooses


def choose_port(preferred: int, *, host: str = "127.0.0.1", taken: Collection[int] = ()) -> int:
    """Return a port that nobody listens on now: ``preferred``, or one soon after it."""
    for port in range(preferred, preferred + _NEIGHBOURS):
        if port not in taken and _is_free(host, port):
            return port
    with socket.socket() as chosen:
        chosen.bind((host, 0))
        port = chosen.getsockname()[1]
    return int(port)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as tried:
        # As servers do: a port whose last connection has only just ended is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
            tried.listen()
        except OSError:
            return False
    return True
