"""How often the rules are wrong, what they miss, and how fast they are, over 30 days of traffic.

The traffic is made by a seed (``tests/traffic.py``): first without an attack, so that each alert
is a false one; then the same with attacks, of which the quiet ones are below what rules are made
for. No database is asked, and no clock but for the speed.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from broker.audit.detect.alert import SEVERITIES, Alert
from broker.audit.detect.engine import Engine
from broker.settings.alerts import Alerts
from tests.traffic import Attack, Traffic, attacks_on

CHUNK = 64
MONTH = 30.0


def look(rows: Iterable[Any]) -> tuple[list[Alert], int, float]:
    """Return the alerts, how many rows there were, and the seconds of CPU that they took."""
    engine, alerts, count, spent = Engine(Alerts()), [], 0, 0.0
    for chunk in chunks(rows):
        began = time.process_time()
        alerts += [found.alert for found in engine.feed(chunk)]
        spent += time.process_time() - began
        count += len(chunk)
    return alerts, count, spent


def chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def delay(attack: Attack, alerts: Iterable[Alert]) -> float | None:
    """Return the seconds until it was told; None: it was not."""
    return min(
        (
            (alert.at - attack.at).total_seconds()
            for alert in alerts
            if (alert.rule, alert.client) == (attack.rule, attack.client)
            and attack.at <= alert.at <= attack.at + timedelta(hours=1)
        ),
        default=None,
    )


def measure(seeds: int, clients: int, days: int) -> dict[str, Any]:
    false: Counter[str] = Counter()
    client_days = rows = 0
    spent = 0.0
    delays: dict[tuple[str, bool], list[float | None]] = defaultdict(list)
    for seed in range(seeds):
        traffic = Traffic(seed, clients=clients, days=days)
        alerts, count, seconds = look(traffic.rows())
        false.update(alert.rule for alert in alerts)
        client_days += sum(days - client.since for client in traffic.clients)
        rows, spent = rows + count, spent + seconds
        again = Traffic(seed, clients=clients, days=days)
        attacks = attacks_on(again)
        alerts, _, _ = look(again.rows(attacks))
        for attack in attacks:
            delays[attack.rule, attack.quiet].append(delay(attack, alerts))
    return {
        "traffic": {"seeds": seeds, "clients": clients, "days": days, "rows": rows},
        "false_alerts_per_client_month": {
            rule: round(false[rule] * MONTH / client_days, 3) for rule in SEVERITIES
        },
        "all_false_alerts_per_client_month": round(false.total() * MONTH / client_days, 3),
        "detected": {
            f"{rule}{' (quiet)' if quiet else ''}": summary(found)
            for (rule, quiet), found in sorted(delays.items())
        },
        "rows_per_cpu_second": round(rows / spent),
    }


def summary(found: list[float | None]) -> dict[str, Any]:
    told = [one for one in found if one is not None]
    return {
        "of": len(found),
        "told": len(told),
        "median_delay_s": round(statistics.median(told)) if told else None,
    }


def memory(clients: int, days: int) -> dict[str, float]:
    """Return what an engine holds after all that, by itself."""
    tracemalloc.start()
    engine = Engine(Alerts())
    for chunk in chunks(Traffic(0, clients=clients, days=days).rows()):
        engine.feed(chunk)
    del chunk
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"held_mib": round(held / 2**20, 1), "peak_mib": round(peak / 2**20, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    results = measure(arguments.seeds, arguments.clients, arguments.days)
    machine = {"processors": os.cpu_count(), "python": platform.python_version()}
    results["memory"] = memory(arguments.clients, min(arguments.days, 16))
    json.dump({"bench": "detect", "machine": machine, **results}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
