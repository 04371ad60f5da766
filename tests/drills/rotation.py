"""Keys that rotate under load: processes that sign, verifiers that cache, and what came of it.

The schedule is production's, shortened as a whole: verifiers keep a JWK Set for ``cache``, and a
key is published for longer than that before it signs, by as much as a process may lag behind. The
verifiers are those that resource servers use, with their own caches; neither may ask again for a
key that it does not find, since a production cache of minutes would not help there either.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt as pyjwt

from tests.clients.libraries import CLIENTS, SOURCES

ROOT = Path(__file__).parents[2]
VERIFIER = Path(__file__).parent / "jose-verifier.mjs"


@dataclass(frozen=True)
class Pace:
    """The schedule, in seconds."""

    cache: float = 0.5  # how long verifiers keep a JWK Set
    lag: float = 1.0  # how far behind a process may be: a poll, a pause, a slow machine
    poll: float = 0.1

    @property
    def publish_before(self) -> float:
        return self.cache + self.lag

    @property
    def publish_after(self) -> float:
        # Tokens are verified at once here, so what matters is who still signs and who still asks.
        return self.cache + 4 * self.lag


@dataclass
class Outcome:
    """What was seen."""

    verified: Counter[str] = field(default_factory=Counter)  # by library
    failures: list[str] = field(default_factory=list)
    signers: Counter[str] = field(default_factory=Counter)  # tokens by kid
    fetches: Counter[str] = field(default_factory=Counter)  # by library
    pauses: int = 0
    seconds: float = 0.0


class Signer:
    """One process that signs."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.up = True  # whether a load balancer would send it traffic

    def pause(self, *, seen: bool) -> None:
        """Stop it where it stands; ``seen`` by a load balancer, or too briefly for that."""
        self.up = not seen
        self.process.send_signal(signal.SIGSTOP)

    async def resume(self, client: httpx.AsyncClient) -> None:
        """Let it go on; it has traffic again once it is ready."""
        self.process.send_signal(signal.SIGCONT)
        await client.get(f"{self.url}/ready")
        self.up = True


class PyJwt:
    """PyJWT's ``PyJWKClient``: its cache, and no second question for a key that is not in it."""

    name = "pyjwt"

    def __init__(self, pace: Pace) -> None:
        self.fetches = 0
        self._client = pyjwt.PyJWKClient(
            "http://keys.invalid/jwks", lifespan=pace.cache, timeout=pace.lag / 2
        )
        self._lock = asyncio.Lock()

    async def verify(self, token: str, up: list[str]) -> str:
        async with self._lock:
            while True:
                try:
                    return await asyncio.to_thread(self._verify, token, random.choice(up))
                except pyjwt.PyJWKClientConnectionError:
                    pass  # as a service would, it asks again, and another one is there

    def _verify(self, token: str, url: str) -> str:
        self._client.uri = url
        cached = self._client.jwk_set_cache.get()
        self.fetches += cached is None
        kid = pyjwt.get_unverified_header(token)["kid"]
        keys = {key.key_id: key for key in self._client.get_signing_keys()}
        if kid not in keys:
            return "no such key in the set"
        try:
            pyjwt.decode(token, keys[kid], algorithms=["ES256"])
        except pyjwt.PyJWTError as error:
            return repr(error)
        return "ok"


class Jose:
    """The jose of JavaScript: ``createRemoteJWKSet``, in a process of Node's."""

    name = "jose"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.fetches = 0
        self._process = process
        self._lock = asyncio.Lock()

    async def verify(self, token: str, up: list[str]) -> str:
        async with self._lock:
            self._process.stdin.write(json.dumps({"token": token, "up": up}).encode() + b"\n")
            await self._process.stdin.drain()
            answer = json.loads(await self._process.stdout.readline())
        self.fetches = answer["fetches"]
        return answer["said"]


def has_jose() -> bool:
    """Whether Node and jose are here."""
    from shutil import which

    manifest = CLIENTS / "package.json"
    return (
        which("node") is not None
        and manifest.exists()
        and manifest.read_text() == (SOURCES / "package.json").read_text()
    )


@asynccontextmanager
async def running(*command: str, cwd: Path = ROOT) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process, for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


async def drill(
    database_url: str, kek: Path, *, rotations: int, pace: Pace, processes: int = 3
) -> Outcome:
    """Have that many rotations while processes sign, and one of them is paused now and then."""
    outcome = Outcome()
    numbers = (pace.publish_before, pace.publish_before, pace.publish_after, pace.poll)
    command = (sys.executable, "-m", "tests.drills.signer", database_url, str(kek))
    async with AsyncExitStack() as stack:
        signers = []
        started = [
            await stack.enter_async_context(running(*command, *map(str, numbers)))
            for _ in range(processes)
        ]
        for process in started:
            port = int(await asyncio.wait_for(process.stdout.readline(), 60))
            signers.append(Signer(process, port))
        verifiers: list[Any] = [PyJwt(pace)]
        if has_jose():
            text = VERIFIER.read_text()
            node = (
                "node",
                "--input-type=module",
                "--eval",
                text,
                *map(str, (pace.cache * 1000, pace.lag * 500)),
            )
            verifiers.append(Jose(await stack.enter_async_context(running(*node, cwd=CLIENTS))))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stop, began = asyncio.Event(), time.monotonic()
        work = [
            *(
                group.create_task(_sign(s, signers, verifiers, client, outcome, stop))
                for s in signers
            ),
            group.create_task(_pause(signers, client, pace, outcome, stop)),
        ]
        # Those that took place while the others were starting are not counted.
        wanted = await activated(database_url) + rotations
        limit = time.monotonic() + 30 + rotations * 4 * pace.publish_before
        while await activated(database_url) < wanted:
            if time.monotonic() > limit:
                outcome.failures.append("the rotations did not come in time")
                break
            await asyncio.sleep(0.1)
        outcome.seconds = time.monotonic() - began
        stop.set()
        await asyncio.wait(work)
    for verifier in verifiers:
        outcome.fetches[verifier.name] = verifier.fetches
    return outcome


async def _sign(
    signer: Signer,
    signers: list[Signer],
    verifiers: list[Any],
    client: httpx.AsyncClient,
    outcome: Outcome,
    stop: asyncio.Event,
) -> None:
    """Take a token of this process again and again, and have each library verify it."""
    while not stop.is_set():
        if not signer.up:
            await asyncio.sleep(0.02)
            continue
        try:
            # A request that was under way when it was paused is answered when it goes on.
            token = (await client.get(f"{signer.url}/token")).text
        except httpx.TransportError as error:
            outcome.failures.append(repr(error))
            continue
        if not signer.up:
            continue  # so nobody has had this one meanwhile
        kid = pyjwt.get_unverified_header(token)["kid"]
        outcome.signers[kid] += 1
        for verifier in verifiers:
            up = [f"{each.url}/jwks" for each in signers if each.up]
            said = await verifier.verify(token, up)
            if said == "ok":
                outcome.verified[verifier.name] += 1
            else:
                outcome.failures.append(f"{verifier.name}: {kid}: {said}")
        await asyncio.sleep(0.005)


async def _pause(
    signers: list[Signer],
    client: httpx.AsyncClient,
    pace: Pace,
    outcome: Outcome,
    stop: asyncio.Event,
) -> None:
    """Stop one after the other where it stands: unseen, and for longer than rotations take."""
    turn = 0
    while not stop.is_set():
        signer, turn = signers[turn % len(signers)], turn + 1
        await asyncio.sleep(random.uniform(0.2, 0.6))
        briefly = turn % 2 == 0
        signer.pause(seen=not briefly)
        outcome.pauses += 1
        longest = pace.lag / 4 if briefly else 2.5 * pace.publish_before
        await asyncio.sleep(random.uniform(0, longest))
        await signer.resume(client)


async def activated(database_url: str) -> int:
    """How many keys have ever signed, so how many rotations there were, and one."""
    query = "SELECT count(*) AS keys FROM signing_key WHERE activated_at IS NOT NULL"
    return int((await _fetch(database_url, query))[0]["keys"])


async def judge(database_url: str, auditor_url: str) -> list[str]:
    """Return what is wrong with the history of the keys, by the tables and the audit trail."""
    rows = await _fetch(
        auditor_url,
        "SELECT record::json -> 'details' AS details FROM audit_event"
        " WHERE action = 'keys.rotate' ORDER BY (record::json #>> '{details,generation}')::bigint",
    )
    wrong: list[str] = []
    state: dict[str, str | None] = {}
    for expected, row in enumerate(rows, 1):
        details = json.loads(row["details"])
        if details["generation"] != expected:
            wrong.append(f"generation {details['generation']} where {expected} was due")
        for change in details["changes"]:
            if state.get(change["kid"]) != change["from"]:
                wrong.append(f"{change} though it was {state.get(change['kid'])}")
            state[change["kid"]] = change["to"]
        active = [kid for kid, value in state.items() if value == "active"]
        if len(active) != 1:
            wrong.append(f"{len(active)} active keys in generation {expected}")
    stored = await _fetch(database_url, "SELECT kid, state FROM signing_key")
    if {row["kid"]: row["state"] for row in stored} != state:
        wrong.append("the tables are not what the audit trail tells")
    return wrong


async def _fetch(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
