"""A TLS connection that bytes are sent over, and of which one knows whether they arrived.

It blocks, for it has a thread of its own: so what was sent is in the hands of the system when
``send`` returns, and ``settle`` asks the system whether the other side has confirmed it. ``abort``
is for any thread, and ends whatever waits.
"""

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from contextlib import suppress
from typing import Final

_CONNECT: Final = 5.0  # seconds, and as many for the handshake
_SEND: Final = 60.0  # seconds in which a receiver takes nothing before it counts as stuck
_JUDGED: Final = 1.0  # seconds for a receiver to refuse our certificate
_LOOK: Final = 0.005  # seconds between two looks


class Closed(OSError):  # noqa: N818 — a state of the connection
    """The other side has ended the connection."""


class Wire:
    """One connection."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._plain: socket.socket | None = None  # as soon as there is one, to be aborted
        self._socket: ssl.SSLSocket

    def open(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Connect. Raises ``OSError``, which ``ssl.SSLError`` is too."""
        self._plain = plain = socket.create_connection((host, port), timeout=_CONNECT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A receiver that lost power answers nothing: so an idle connection is noticed as dead.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = self._plain = tls.wrap_socket(
            plain, server_hostname=host, do_handshake_on_connect=False
        )
        self._socket.do_handshake()
        # In TLS 1.3 a client is done before the server has judged it: whether it may come is known
        # once the server says anything, and most do so at once.
        select.select([self._socket], [], [], _JUDGED)
        self.check()

    def send(self, data: bytes) -> None:
        """Hand over ``data``. Raises ``OSError``, and ``TimeoutError`` if the receiver is stuck."""
        self.check()
        self._socket.sendall(data)

    def settle(self) -> None:
        """Return once the other side's system has all that was sent. Raises ``OSError``."""
        deadline = time.monotonic() + _SEND
        while _unconfirmed(self._socket):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(_LOOK)
        self.check()

    def check(self) -> None:
        """Return if the connection stands. What the other side says is of no interest."""
        self._socket.settimeout(0)
        try:
            while True:
                if not self._socket.recv(4096):
                    raise Closed("the receiver has closed the connection")
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except ssl.SSLEOFError:
            raise Closed("the receiver has closed the connection") from None
        finally:
            self._socket.settimeout(_SEND)

    def close(self) -> None:
        """End the connection in good order, waiting for nobody."""
        if isinstance(self._plain, ssl.SSLSocket):
            with suppress(OSError, ValueError):  # it may not have been begun
                self._plain.settimeout(0)
                self._plain.unwrap()
        if self._plain is not None:
            self._plain.close()

    def abort(self) -> None:
        """End it at once, and whatever waits for it."""
        if self._plain is not None:
            with suppress(OSError):
                # Not that of TLS, which would take the connection from under whoever uses it.
                socket.socket.shutdown(self._plain, socket.SHUT_RDWR)


def _unconfirmed(connection: socket.socket) -> int:
    """Return how many bytes the system holds that the other side's has not confirmed."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", answer)[0])
