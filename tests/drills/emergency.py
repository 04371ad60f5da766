"""A signing key that is revoked by command while brokers serve, and how long each one took."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from tests.drills.load import exchange, load, run_broker
from tests.jwts import unverified_header
from tests.server import BrokerProcess, eventually
from tests.wire import basic, exchange_form


@dataclass(frozen=True)
class Withdrawal:
    """What was seen of it."""

    bad: str
    command: float  # seconds that the command took, its own start included
    refused: list[float]  # seconds after it, by process: refused as subject, unpublished, unused
    signers: set[str]  # who signs afterwards, over all processes
    known: set[str]  # what was published before
    states: dict[str, str]  # as the command lists them, of this algorithm
    statuses: Counter[int]  # of the exchanges meanwhile
    broken: list[str]


async def withdraw(replicas: Sequence[BrokerProcess]) -> Withdrawal:
    """Revoke the key that signs with ES256, and ask each process until it has followed."""
    async with httpx.AsyncClient(timeout=20) as client:
        issued = await exchange(client, replicas[0].url, exchange_form(), basic())
        token = issued.body["access_token"]
        bad = str(unverified_header(token)["kid"])
        onward = exchange_form(subject_token=token, audience="svc-c")

        async def taken(process: BrokerProcess) -> bool:
            answer = await exchange(client, process.url, onward, basic("svc-b"))
            return answer.status == 200

        async def published(process: BrokerProcess) -> set[str]:
            document = (await client.get(f"{process.url}/.well-known/jwks.json")).json()
            return {key["kid"] for key in document["keys"]}

        async def signer(process: BrokerProcess) -> str:
            answer = await exchange(client, process.url, exchange_form(), basic())
            return str(unverified_header(answer.body["access_token"])["kid"])

        assert all([await taken(process) for process in replicas])
        known = await published(replicas[0])
        async with load(lambda: replicas[0].url, connections=2) as seen:
            await seen.more(200, 10)
            began = time.monotonic()
            command = ("keys", "revoke", bad, "--reason", "drill 10")
            config = ("--config", str(replicas[0].config))
            code, output = await run_broker(*command, *config, json=True)
            revoked = time.monotonic()
            assert 0 == code, output

            async def follow(process: BrokerProcess) -> float:
                async def gone() -> bool:
                    return (
                        not await taken(process)
                        and bad not in await published(process)
                        and bad != await signer(process)
                    )

                await eventually(gone, seconds=60)
                return time.monotonic() - revoked

            refused = await asyncio.gather(*map(follow, replicas))
            await seen.more(200, 10)
        return Withdrawal(
            bad=bad,
            command=revoked - began,
            refused=refused,
            signers={await signer(process) for process in replicas},
            known=known,
            states={k["kid"]: k["state"] for k in output if k["algorithm"] == "ES256"},
            statuses=seen.statuses,
            broken=seen.broken,
        )
