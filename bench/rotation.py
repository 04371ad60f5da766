"""A hundred rotations of the signing key while three processes sign and verifiers cache the set.

Each process is paused now and then where it stands (SIGSTOP), whoever leads at the time. The
verifiers are PyJWT's and jose's clients with their own caches, neither of which asks again for a
key that it does not find. Prints JSON: how many tokens each verified, and what failed, which is to
be nothing.
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
from tests.drills.rotation import Pace, drill, has_jose, judge


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder, "db")) as server:
        migrate(server.owner_url)
        result = asyncio.run(measure(server, Path(folder), arguments.rotations))
    print(json.dumps(result, indent=2))
    return 1 if result["verification_failures"] or result["history_is_wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
