"""A hundred rotations of the signing key while three processes sign and verifiers cache the set.

Each process is paused now and then where it stands (SIGSTOP), whoever leads at the time. The
verifiers are PyJWT's and jose's clients with their own caches, neither of which asks again for a
key that it does not find. Then three brokers serve, and the key that signs is revoked by command.

Prints JSON: how many tokens each verifier took, what failed, which is to be nothing, and how long
after the command each broker refused what the revoked key had signed.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import tempfile
from pathlib import Path

from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.drills.emergency import withdraw
from tests.drills.rotation import Pace, drill, has_jose, judge
from tests.server import BrokerProcess, write_configuration


async def measure(server: EmbeddedPostgres, folder: Path, rotations: int) -> dict:
    kek = folder / "kek"
    kek.write_text(base64.b64encode(os.urandom(32)).decode())
    kek.chmod(0o600)
    pace = Pace(cache=0.3, lag=0.6)
    outcome = await drill(server.app_url, kek, rotations=rotations, pace=pace)
    wrong = await judge(server.app_url, server.auditor_url)
    return {
        "benchmark": "rotation",
        "processes": 3,
        "rotations": rotations,
        "seconds": round(outcome.seconds, 1),
        "schedule_seconds": {
            "cache": pace.cache,
            "publish_before": round(pace.publish_before, 3),
            "publish_after": round(pace.publish_after, 3),
        },
        "pauses": outcome.pauses,
        "keys_that_signed": len(outcome.signers),
        "verified": dict(outcome.verified),
        "jwks_fetches": dict(outcome.fetches),
        "verification_failures": len(outcome.failures),
        "failures": outcome.failures[:10],
        "history_is_wrong": wrong,
        "not_run": [] if has_jose() else ["jose: it is not in .tools/oauth-clients"],
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }


def start(folder: Path, database_url: str) -> BrokerProcess:
    folder.mkdir()
    audit = {"deadline": "10s", "unauthenticated_refusals": "100000/1m"}
    return BrokerProcess(write_configuration(folder, database_url, audit=audit))


def revoke(server: EmbeddedPostgres, folder: Path) -> dict:
    """Measure the emergency on brokers as they are."""
    replicas = [start(folder / f"broker-{number}", server.app_url) for number in range(3)]
    try:
        for replica in replicas:
            replica.wait_ready()
        seen = asyncio.run(withdraw(replicas))
    finally:
        for replica in replicas:
            replica.stop()
    return {
        "processes": len(replicas),
        "command_seconds": round(seen.command, 2),
        "refused_everywhere_after_seconds": round(max(seen.refused), 3),
        "exchanges_meanwhile": dict(seen.statuses),
        "new_key_was_published": seen.signers <= seen.known - {seen.bad},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "db") as server:
            migrate(server.owner_url)
            result = asyncio.run(measure(server, folder, arguments.rotations))
        with EmbeddedPostgres(folder / "other-db") as server:
            migrate(server.owner_url)
            result["emergency"] = revoke(server, folder)
    print(json.dumps(result, indent=2))
    return 1 if result["verification_failures"] or result["history_is_wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
