"""Exchanges a second of one broker process on one core, with everything on.

Every request carries another subject token (ES256) and ``client_secret_basic``, or with ``reused``
the same one; policy is WASM, the audit row is durable (``fsync`` on) and encrypted, metrics are on.
The broker has processor 0; PostgreSQL and this load generator share processor 1. With ``--workers``
several processes, PostgreSQL and the load share all processors. The floor is what the cryptography
of an exchange alone would allow: one ES256 verification and one signature. Prints JSON.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.load import build_post, run_closed_loop, run_open_loop
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.configuration import document, grants, secret
from tests.jwts import subject_jwt

BROKER_CPU, LOAD_CPU = 0, 1
POLICIES = Path(__file__).parent.parent / "policies"


def requests_of(count: int, *, subjects: int = 1) -> list[bytes]:
    """Return ``count`` requests, no two with the same subject token, of so many subjects."""
    basic = base64.b64encode(f"svc-a:{secret('svc-a')}".encode()).decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "svc-b",
        "scope": "orders.read",
    }
    return [
        build_post(
            "/token",
            urllib.parse.urlencode(
                {
                    **form,
                    "subject_token": subject_jwt(
                        sub=f"user-{number % subjects}", exp=int(time.time()) + 3600
                    ),
                }
            ).encode(),
            headers,
        )
        for number in range(count)
    ]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used: it says more than the clock where others
    use the same processor.
    """  # noqa: D205 — one sentence
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def step_microseconds(admin_url: str) -> dict[str, float]:
    """Return the mean time of each step so far, in microseconds, from the broker's own metrics."""
    with urllib.request.urlopen(f"{admin_url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for line in lines:
        if line.startswith("broker_exchange_step_duration") and 'step="' in line:
            step = line.split('step="', 1)[1].split('"', 1)[0]
            value = float(line.rsplit(" ", 1)[1])
            if "_sum{" in line:
                sums[step] = value
            elif "_count{" in line:
                counts[step] = value
    return {step: round(sums[step] / counts[step] * 1e6, 1) for step in sums if counts.get(step)}


def write_configuration(folder: Path, database_url: str) -> Path:
    """Write a whole configuration into ``folder`` and return the path of its ``broker.yaml``."""
    policies = folder / "policies"
    subprocess.run(["cp", "-r", str(POLICIES), str(policies)], check=True)
    (policies / "broker" / "grants" / "data.yaml").write_text(yaml.safe_dump(grants()))
    kek = folder / "kek"
    kek.write_text(base64.b64encode(os.urandom(32)).decode())
    kek.chmod(0o600)
    config = folder / "broker.yaml"
    config.write_text(
        yaml.safe_dump(
            document(
                listen={"host": "127.0.0.1", "port": 18080},
                admin={"host": "127.0.0.1", "port": 19090},
                database={"url": database_url},
                keys={"kek_file": str(kek)},
                audit={"key_file": str(kek), "checkpoints": {"key_file": str(kek)}},
                policy={"engine": "wasm", "path": str(policies)},
            )
        )
    )
    return config


def wait_until_ready(admin_url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the broker says that it is ready."""
    for _ in range(300):
        if process.poll() is not None:
            sys.exit("the broker stopped before it was ready")
        try:
            with urllib.request.urlopen(f"{admin_url}/health/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the broker did not become ready within 30 s")


def floor_us(count: int = 2000) -> float:
    """Return the processor time of one verification and one signature, the best of five."""
    key, message = ec.generate_private_key(ec.SECP256R1()), os.urandom(700)
    algorithm, public = ec.ECDSA(hashes.SHA256()), key.public_key()
    signature, best = key.sign(message, algorithm), float("inf")
    for _ in range(5):
        spent = time.process_time()
        for _ in range(count):
            public.verify(signature, message, algorithm)
            key.sign(message, algorithm)
        best = min(best, time.process_time() - spent)
    return round(best / count * 1e6, 1)


def measure(
    pid: int, *, seconds: float, rounds: int, reused: bool = False, most: int = 4000
) -> dict[str, dict[str, Any]]:
    """Run each number of connections ``rounds`` times and return all figures and their medians."""
    results: dict[str, dict[str, Any]] = {}
    for connections in (32,) if reused else (1, 8, 32, 128):
        runs = []
        for _ in range(rounds):
            pool: Iterator[bytes] = (
                repeat(*requests_of(1)) if reused else iter(requests_of(int(seconds * most)))
            )
            before, cpu = resident_mb(pid), cpu_seconds(pid)
            outcome = asyncio.run(
                run_closed_loop("127.0.0.1", 18080, pool, connections=connections, seconds=seconds)
            )
            used = (cpu_seconds(pid) - cpu) / max(1, len(outcome.latencies))
            runs.append(
                outcome.summary()
                | {"rss_mb": [before, resident_mb(pid)], "cpu_us_each": round(used * 1e6, 1)}
            )
        results[str(connections)] = {
            "median_per_second": statistics.median(float(str(run["per_second"])) for run in runs),
            "median_cpu_us_each": statistics.median(float(str(run["cpu_us_each"])) for run in runs),
            "median_p99_ms": statistics.median(float(str(run["p99_ms"])) for run in runs),
            "runs": runs,
        }
    return results


def measure_half(per_second: float, seconds: float) -> dict[str, object]:
    """Return how long answers take at half of the rate that there is to be had, in an open loop."""
    rate = per_second / 2
    load = iter(requests_of(int(rate * seconds) + 200))
    outcome = asyncio.run(
        run_open_loop(*("127.0.0.1", 18080, load), per_second=rate, connections=64, seconds=seconds)
    )
    return {"offered_per_second": round(rate, 1)} | outcome.summary()


def measure_memory(pid: int, subjects: int) -> dict[str, object]:
    """Return the resident memory before and after as many tokens of as many subjects.

    More than any cache of the process holds, so what it holds afterwards is the most of it.
    """
    before = resident_mb(pid)
    load = iter(requests_of(subjects, subjects=subjects))
    outcome = asyncio.run(run_closed_loop("127.0.0.1", 18080, load, connections=32, seconds=120))
    return {
        "subjects": subjects,
        "answered": outcome.statuses.get(200, 0),
        "rss_mb": [before, resident_mb(pid)],
    }


def main() -> None:
    """Start what is needed, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number of connections")
    parser.add_argument("--workers", type=int, default=1, help="processes of the broker")
    parser.add_argument(
        "--subjects", type=int, default=20_000, help="whose tokens are exchanged for the memory"
    )
    arguments = parser.parse_args()
    alone = arguments.workers == 1

    # What is started from here on, PostgreSQL included, inherits the processor.
    if alone:
        os.sched_setaffinity(0, {LOAD_CPU})
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "pg")
        postgres.start()
        migrate(postgres.owner_url)
        config = write_configuration(folder, postgres.app_url)
        broker = subprocess.Popen(
            [
                *(("taskset", "-c", str(BROKER_CPU)) if alone else ()),
                *(sys.executable, "-m", "broker.cli", "serve", "--config", str(config)),
                *("--workers", str(arguments.workers)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
        )
        try:
            admin_url = "http://127.0.0.1:19090"
            wait_until_ready(admin_url, broker)
            how = {"seconds": arguments.seconds, "rounds": arguments.rounds}
            loops = measure(broker.pid, **how)
            capacity = float(loops["32"]["median_per_second"])
            report = {
                "bench": "exchange",
                "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
                "workers": arguments.workers,
                "floor_us": floor_us(),
                "connections": loops,
                "at_half": measure_half(capacity, arguments.seconds),
                "reused": measure(broker.pid, **how, reused=True),
                "step_mean_us": step_microseconds(admin_url),
                "memory": measure_memory(broker.pid, arguments.subjects),
            }
            print(json.dumps(report, indent=2))
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait(15)
            postgres.stop()


if __name__ == "__main__":
    main()
