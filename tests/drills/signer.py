"""A process that signs, rotates and publishes, and does nothing else: the drill's replica.

Keyring, rotator, store, audit writer and listener are the broker's own; only the schedule is one
that nobody should run. Its arguments are the database, the key-encryption key file and the
schedule in seconds. ``/token`` answers with a token, ``/jwks`` with the set, ``/ready`` with 200
once the keys were read since the request came.
"""

import asyncio
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from uvloop import new_event_loop

from broker.audit.commit import AuditTrail
from broker.audit.uuid7 import build_uuid7
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from broker.jose.sign import sign_compact
from broker.keys.envelope import Envelope, load_kek
from broker.keys.keyring import Keyring
from broker.keys.provider import KeyProviders
from broker.keys.rotation import Schedule
from broker.keys.rotator import Rotator
from broker.keys.sealed import SealedKeys
from broker.keys.store import KeyStore
from broker.listener import Listener
from tests.audit import new_vault

ISSUER = "https://broker.test"
LIFE = 60  # seconds, of a token


def now() -> datetime:
    return datetime.now(UTC)


class App:
    """Three answers."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, kind = await self._answer(scope["path"])
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, path: str) -> tuple[bytes, bytes]:
        if path == "/jwks":
            return self._keyring.jwks().body, b"application/json"
        if path == "/ready":
            asked = time.monotonic()
            while timedelta(seconds=time.monotonic() - asked) < self._keyring.unseen:  # noqa: ASYNC110 — the keyring polls as well
                await asyncio.sleep(0.01)
            return b"ready", b"text/plain"
        key = self._keyring.signing_key("ES256")
        claims = {"iss": ISSUER, "sub": "alice", "exp": int(time.time()) + LIFE}
        header = {"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"}
        return sign_compact(key, header, orjson.dumps(claims)).encode(), b"text/plain"


async def main(url: str, kek: str, every: str, before: str, after: str, poll: str) -> None:
    stop, ending = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = Database(url)
    writer = AuditWriter(database, deadline=timedelta(seconds=10), clock=now)
    trail = AuditTrail(
        writer, issuer=ISSUER, vault=new_vault(), clock=now, build_id=lambda: build_uuid7(now)
    )
    writing = asyncio.create_task(writer.run(ending))
    while not writer.available:  # noqa: ASYNC110 — it has no event for it, and none is due
        await asyncio.sleep(0.01)
    schedule = Schedule(*(timedelta(seconds=float(each)) for each in (every, before, after)))
    store, providers = KeyStore(database), KeyProviders(SealedKeys(Envelope(load_kek(Path(kek)))))
    rotator = Rotator(store, providers, schedule, trail.record)
    keyring = Keyring(
        store,
        providers,
        rotator,
        algorithms=("ES256",),
        poll=timedelta(seconds=float(poll)),
    )
    await keyring.load()
    rotating = asyncio.create_task(keyring.run(stop))
    listener = Listener(App(keyring), host="127.0.0.1", port=0)
    print(listener.bind(), flush=True)  # noqa: T201 — this is how whoever started it is told
    serving = asyncio.create_task(listener.serve())
    await stop.wait()
    listener.stop()
    await asyncio.gather(serving, rotating)
    ending.set()
    await writing
    await database.aclose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
