"""Where a broker process stands that is one of several: what it shares with the others."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.listener import Application, Listener
from broker.settings import Settings
from broker.settings.sections import Admin, Listen

PATIENCE: Final = 60.0  # seconds until one that replaces another serves, ready or not


@dataclass(frozen=True, slots=True)
class Place:
    """One of several processes under one supervisor, on the same ports."""

    number: int  # from 1; kept by whichever process takes its place
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)  # bound, by ``addresses_of``
    folder: Path | None = None  # where the processes reach one another; None: there is one
    replaces: bool = False  # others serve until this one is ready

    def listener(self, name: str, app: Application, at: Listen | Admin) -> Listener:
        """Return what serves ``app`` at this address, on the socket that is bound to it if any."""
        return Listener(app, host=at.host, port=at.port, bound=self.sockets.get(name))


ALONE: Final = Place(1)


def addresses_of(settings: Settings) -> dict[str, Listen | Admin]:
    """Return every address that a broker listens on, by what is served there."""
    own = settings.proxy.listen
    return {
        "public": settings.listen,
        "admin": settings.admin,
        **({} if own is None else {"proxy": own}),
    }
