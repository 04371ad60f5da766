"""What a benchmark stands on: its processors, a PostgreSQL of its own, a broker, and requests.

What is measured has processor 0; PostgreSQL and the load share processor 1.
"""

import base64
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.load import build_post
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.configuration import document, grants, secret
from tests.jwts import subject_jwt

BROKER_CPU, LOAD_CPU = 0, 1
ADMIN_URL = "http://127.0.0.1:19090"
POLICIES = Path(__file__).parent.parent / "policies"


def describe_machine() -> dict[str, object]:
    """Return what the figures are of."""
    return {"processors": os.cpu_count(), "python": platform.python_version()}


@contextmanager
def database(*, kept: bool = True) -> Iterator[tuple[EmbeddedPostgres, Path]]:
    """Yield a migrated PostgreSQL and a folder; with ``kept`` it keeps to the load's processor.

    So does this process, and what it starts, until it says otherwise.
    """
    if kept:
        # What is started from here on, PostgreSQL included, inherits the processor.
        os.sched_setaffinity(0, {LOAD_CPU})
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "pg") as postgres:
            migrate(postgres.owner_url)
            yield postgres, folder


@contextmanager
def serving(
    postgres: EmbeddedPostgres,
    folder: Path,
    *,
    workers: int = 1,
    configure: Callable[[Path, str], Path] | None = None,
) -> Iterator[int]:
    """Yield the process id of a broker that is ready, on port 18080; alone it has its processor."""
    config = (configure or write_configuration)(folder, postgres.app_url)
    broker = subprocess.Popen(
        [
            *(("taskset", "-c", str(BROKER_CPU)) if workers == 1 else ()),
            *(sys.executable, "-m", "broker.cli", "serve", "--config", str(config)),
            *("--workers", str(workers)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        wait_until_ready(ADMIN_URL, broker)
        yield broker.pid
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.wait(15)


def headers_of(client: str) -> dict[str, str]:
    """Return the headers of a form that this client sends."""
    credentials = base64.b64encode(f"{client}:{secret(client)}".encode()).decode()
    return {
        "Authorization": f"Basic {credentials}",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def requests_of(
    count: int, *, client: str = "svc-a", target: str = "svc-b", subjects: int = 1
) -> list[bytes]:
    """Return ``count`` requests, no two with the same subject token, of so many subjects."""
    headers, expires = headers_of(client), int(time.time()) + 3600
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": target,
        "scope": "orders.read",
    }
    return [
        build_post(
            "/token",
            urllib.parse.urlencode(
                {
                    **form,
                    "subject_token": subject_jwt(
                        sub=f"user-{number % subjects}", aud=client, exp=expires
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
