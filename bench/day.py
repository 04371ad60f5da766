"""A day of a platform: who asks for which token, and when; and what that is played to.

500 users do 5 things a day, each of which passes 15 services; and 3 times a day all users are
synchronised with all services. So 500 * 5 * 15 + 3 * 500 * 15 = 60,000 times a service needs a
token, and there are 20 combinations of client and scope.
"""

import asyncio
import base64
import random
import time
import urllib.parse
from dataclasses import dataclass

from bench.load import build_post

DAY = 86_400  # seconds
USERS, ACTIONS, SERVICES, SYNCS, COMBINATIONS = 500, 5, 15, 3, 20
SYNC_TIME = 1800  # seconds that a synchronisation takes
OPERATIONS = USERS * ACTIONS * SERVICES + SYNCS * USERS * SERVICES
CLIENTS = [f"service-{number:02d}" for number in range(SERVICES)]


def combinations() -> list[tuple[str, str]]:
    """The clients and scopes: each service has one, and five of them a second."""
    return [(CLIENTS[n % SERVICES], f"scope.{n // SERVICES}") for n in range(COMBINATIONS)]


def schedule(seed: int = 1) -> list[tuple[float, int]]:
    """When, in seconds of the day, which combination is needed; in order of time."""
    chance = random.Random(seed)
    day: list[tuple[float, int]] = []
    for _ in range(USERS * ACTIONS):
        at = chance.uniform(0, DAY)
        day += [
            (at + chance.uniform(0, 2), _one_of(service, chance)) for service in range(SERVICES)
        ]
    for sync in range(SYNCS):
        began = DAY * (sync + 0.25) / SYNCS
        for _ in range(USERS):
            at = began + chance.uniform(0, SYNC_TIME)
            day += [(at, _one_of(service, chance)) for service in range(SERVICES)]
    return sorted(day)


def _one_of(service: int, chance: random.Random) -> int:
    """One of the combinations of this service."""
    return chance.choice(range(service, COMBINATIONS, SERVICES))


def request_of(combination: tuple[str, str], path: str) -> bytes:
    """What the service sends; the path is all that the proxy changes of it."""
    client, scope = combination
    form = {"grant_type": "client_credentials", "scope": scope}
    credentials = base64.b64encode(f"{client}:secret-of-{client}".encode()).decode()
    headers = {
        "Authorization": f"Basic {credentials}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return build_post(path, urllib.parse.urlencode(form).encode(), headers)


@dataclass
class Played:
    """What became of a day."""

    answered: int = 0
    failed: int = 0
    late: float = 0.0  # seconds behind the schedule, at most
    seconds: float = 0.0


async def play(
    day: list[tuple[float, int]], *, port: int, path: str, scale: float, connections: int = 16
) -> Played:
    """Play a day ``scale`` times as fast as it was; 0 is as fast as can be."""
    requests = [request_of(each, path) for each in combinations()]
    due = iter(day)
    played = Played()
    began = time.perf_counter()

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for at, combination in due:
            if scale:
                wait = began + at / scale - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                played.late = max(played.late, -wait)
            writer.write(requests[combination])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + len(b"content-length:")
            await reader.readexactly(int(head[start:].split(b"\r\n", 1)[0]))
            if head.startswith(b"http/1.1 200"):
                played.answered += 1
            else:
                played.failed += 1
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    played.seconds = time.perf_counter() - began
    return played
