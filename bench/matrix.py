"""How many cells a second ``broker policy matrix`` looks at, by the processor time of one core.

60 clients, 60 targets of four scopes each and two issuers are 7,200 cells; four grants of each
client fill 480 of them, half of the grants deriving one scope. The policy is the stock one, and
compiling it is not in the figures. Prints JSON with medians; exits with 1 if the matrix has not
exactly the cells that the grants give.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from broker.policy.bundle import build_bundle
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.matrix import Asked, Matrix, find_area, survey
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import gather

POLICIES = Path(__file__).parent.parent / "policies"
CPU = 0
CLIENTS = TARGETS = 60
GRANTS = 4  # of each client
ISSUERS = ("idp", "other")


def parties() -> Settings:
    """Who there is."""
    return Settings.model_validate(
        {
            "issuer": "https://broker.example",
            "issuers": [
                {
                    "issuer": f"https://{alias}.example",
                    "alias": alias,
                    "discovery": True,
                    "algorithms": ["ES256"],
                }
                for alias in ISSUERS
            ],
            "clients": [
                {
                    "id": f"client-{number}",
                    "auth": "private_key_jwt",
                    "jwks_uri": "https://client.example/jwks",
                }
                for number in range(CLIENTS)
            ],
            "targets": [
                {"name": f"target-{number}", "scopes": scopes(number)} for number in range(TARGETS)
            ],
        }
    )


def scopes(target: int) -> list[str]:
    """The scopes of a target."""
    return [f"t{target}.{action}" for action in ("read", "write", "list", "admin")]


def grants() -> dict[str, dict[str, object]]:
    """Four grants of each client."""
    rows: dict[str, dict[str, object]] = {}
    for client in range(CLIENTS):
        for number in range(GRANTS):
            target = (client * 7 + number * 13) % TARGETS
            read, write, *_ = scopes(target)
            row = {"scopes": [read], "derives": {write: ["staff"]} if number % 2 else {}}
            rows.setdefault(f"client-{client}", {})[f"target-{target}"] = row
    return rows


def measure(rounds: int) -> dict[str, object]:
    """Look so many times."""
    settings, built = parties(), build_bundle(POLICIES)
    data = orjson.loads(built.data)
    data["broker"]["grants"] = grants()
    bundle = replace(built, data=orjson.dumps(data))
    asked = Asked(find_area(settings), (Circumstance(datetime.now(UTC)),), gather(bundle, settings))
    runs: list[dict[str, int]] = []
    with closing(Candidate(bundle, ceiling=settings.max_delegation_depth)) as candidate:
        for _ in range(rounds):
            began, spent = time.perf_counter(), time.process_time()
            found = survey(candidate, settings, asked, Budget())
            took, cpu = time.perf_counter() - began, time.process_time() - spent
            require(found)
            runs.append(
                {
                    "cells_per_second": round(len(found.cells) / took),
                    "cells_per_cpu_second": round(len(found.cells) / cpu),
                    "evaluations_per_cpu_second": round(found.evaluations / cpu),
                }
            )
    return {
        "cells": len(found.cells),
        "filled": len(found.filled),
        "evaluations": found.evaluations,
        "names_tried": len(asked.vocabulary.scopes),
        **{f"median_{name}": statistics.median(run[name] for run in runs) for name in runs[0]},
        "runs": runs,
    }


def require(found: Matrix) -> None:
    """Exit unless the filled cells are those of the grants."""
    given = {(client, target) for client, row in grants().items() for target in row}
    if {(cell.client, cell.target) for cell in found.filled} != given or found.stopped:
        sys.exit("the matrix is not what was granted")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {CPU})
    machine = {"python": platform.python_version(), "processors": os.cpu_count()}
    print(json.dumps({"bench": "matrix", "machine": machine, **measure(options.rounds)}, indent=2))


if __name__ == "__main__":
    main()
