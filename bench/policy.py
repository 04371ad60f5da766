"""Microseconds that a decision costs this process, for both engines, on the stock policy.

The input is that of an ordinary exchange. For the server only the time on our side of the
connection is ours; it runs on the other processor. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

from broker.policy.bundle import Bundle, build_bundle, find_opa, render_archive
from broker.policy.engine import PolicyEngine
from broker.policy.opa import OpaEngine
from broker.policy.wasm import WasmEngine

ENGINE_CPU, SERVER_CPU = 0, 1
PATIENT = timedelta(seconds=5)
POLICIES = Path(__file__).parent.parent / "policies"
INPUT = {
    "request": {
        "id": "01990000-0000-7000-8000-000000000000",
        "time": 1_795_521_600,
        "audiences": ["inventory"],
        "resources": [],
        "targets": [
            {
                "name": "inventory",
                "audience": "https://inventory.example.com/",
                "scopes": ["inventory.read", "inventory.write", "stock.read"],
                "max_lifetime": 300,
                "claims": ["email"],
            }
        ],
        "scopes": ["inventory.read"],
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "purpose": None,
        "source": "192.0.2.1",
    },
    "client": {"id": "checkout", "auth_method": "client_secret_basic", "targets": ["checkout"]},
    "subject": {
        "issuer": "https://idp.example.com",
        "subject": "alice",
        "client_id": "app",
        "token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scopes": ["inventory.read", "orders.write"],
        "scopeless": False,
        "audiences": ["checkout"],
        "issued_at": 1_795_521_540,
        "expires_at": 1_795_525_200,
        "claims": {},
    },
    "actor": None,
    "delegation": {
        "acting": {"issuer": "https://broker.example.com", "subject": "checkout"},
        "chain": [{"issuer": "https://broker.example.com", "subject": "checkout"}],
        "depth": 1,
        "max_depth": 8,
        "reenters": False,
        "actor_token": False,
    },
}


async def measure(engine: PolicyEngine, *, seconds: float, rounds: int) -> dict[str, object]:
    """Return wall-clock and processor time of a decision, a figure for each round, and medians."""
    question = json.dumps(INPUT).encode()
    decision = (await engine.evaluate(question)).output
    assert decision["allow"], decision
    wall, processor = [], []
    for _ in range(rounds):
        count = 0
        used, began = time.process_time(), time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            for _ in range(50):
                await engine.evaluate(question)
            count += 50
        wall.append(round(elapsed / count * 1e6, 1))
        processor.append(round((time.process_time() - used) / count * 1e6, 1))
    await engine.aclose()
    return {
        "median_us": statistics.median(wall),
        "median_processor_us": statistics.median(processor),
        "runs_us": wall,
    }


def start_server(bundle: Bundle, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Start an OPA server with the bundle on the other processor, and return its URL."""
    archive = folder / "bundle.tar.gz"
    archive.write_bytes(render_archive(bundle, "opa"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        [
            *("taskset", "-c", str(SERVER_CPU), find_opa(), "run", "--server"),
            *("--skip-version-check", "--log-level", "error", "--addr", address, "-b", archive),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=1):
                return f"http://{address}", server
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the OPA server did not start within 30 s")


def main() -> None:
    """Measure both engines and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of decisions per run")
    parser.add_argument("--rounds", type=int, default=5, help="runs per engine")
    arguments = parser.parse_args()
    how = {"seconds": arguments.seconds, "rounds": arguments.rounds}

    bundle = build_bundle(POLICIES)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        url, server = start_server(bundle, Path(name))
        os.sched_setaffinity(0, {ENGINE_CPU})
        try:
            report = {
                "bench": "policy",
                "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
                "input_bytes": len(json.dumps(INPUT)),
                "wasm": asyncio.run(measure(WasmEngine(bundle, deadline=PATIENT), **how)),
                "opa": asyncio.run(measure(OpaEngine(url, deadline=PATIENT), **how)),
            }
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
