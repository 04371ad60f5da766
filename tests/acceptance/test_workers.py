"""``broker serve --workers``: several processes on one port, and what looks after them."""

import asyncio
import itertools
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.db.embedded import EmbeddedPostgres
from tests.fixtures.postgres import OneDatabase, one_more
from tests.server import BrokerClient, BrokerProcess, eventually, talk_to, write_configuration

WORKERS = 2


def workers_of(process: BrokerProcess) -> list[psutil.Process]:
    """The processes that serve."""
    return psutil.Process(process.process.pid).children()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, template: OneDatabase) -> Iterator[OneDatabase]:
    with one_more(postgres, template.name) as made:
        yield made


@pytest.fixture(scope="module")
def several(
    shared: OneDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """A broker of two processes that every test here leaves as it found it."""
    config = write_configuration(tmp_path_factory.mktemp("workers"), shared.app_url)
    process = BrokerProcess(config, "--workers", str(WORKERS))
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@pytest.fixture
async def broker(several: BrokerProcess, shared: OneDatabase) -> AsyncIterator[BrokerClient]:
    async with talk_to(several, shared.auditor_url) as client:
        await eventually(lambda: all_answer(client))
        yield client


async def metrics_of(broker: BrokerClient) -> dict[str, dict[str, float]]:
    """Of each metric its values, by worker."""
    text = (await broker.admin("/metrics")).text
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            worker = sample.labels.get("worker", "")
            values = found.setdefault(sample.name, {})
            values[worker] = values.get(worker, 0) + sample.value
    return found


async def all_answer(broker: BrokerClient) -> bool:
    """Whether every worker is there to be asked."""
    metrics = await metrics_of(broker)
    return metrics["broker_workers"] == {"": WORKERS}


async def issued(broker: BrokerClient) -> float:
    """How many tokens all workers have issued."""
    return sum((await metrics_of(broker)).get("broker_exchange_outcomes_total", {}).values())


async def served_by_all(broker: BrokerClient) -> bool:
    """Whether every worker has issued something, once one more connection has asked."""
    async with httpx.AsyncClient() as other:
        asked = BrokerClient(broker.process, other, broker._rows, broker._since, broker._reader)
        assert 200 == (await asked.exchange()).status_code
    outcomes = (await metrics_of(broker)).get("broker_exchange_outcomes_total", {})
    return set(outcomes) == {str(n + 1) for n in range(WORKERS)}


async def load(broker: BrokerClient, told: asyncio.Event) -> list[Any]:
    """Ask without a pause until told; what every answer was, or what came instead of one."""

    async def ask() -> list[Any]:
        seen: list[Any] = []
        async with httpx.AsyncClient(timeout=20) as other:
            one = BrokerClient(broker.process, other, broker._rows, broker._since, broker._reader)
            while not told.is_set():
                try:
                    seen.append((await one.exchange()).status_code)
                except httpx.TransportError as error:
                    seen.append(repr(error))
        return seen

    return [*itertools.chain(*await asyncio.gather(*(ask() for _ in range(4))))]


async def test_one_port_and_one_scrape_serve_for_all(broker: BrokerClient):
    """Connections are spread over the processes; whichever is asked tells of all of them."""
    before = await issued(broker)

    await eventually(lambda: served_by_all(broker))

    assert len(await broker.rows()) == await issued(broker) - before


async def test_a_worker_that_is_killed_is_replaced(broker: BrokerClient):
    """And what the others serve goes on meanwhile."""
    await eventually(lambda: all_answer(broker))
    victim = workers_of(broker.process)[0]
    victim.kill()

    async def replaced() -> bool:
        there = {worker.pid for worker in workers_of(broker.process)}
        return len(there) == WORKERS and victim.pid not in there

    await eventually(replaced)
    await eventually(lambda: all_answer(broker))
    assert 200 == (await broker.exchange()).status_code
    ended = [line for line in broker.process.logged() if line["message"] == "a worker has ended"]
    assert [-signal.SIGKILL] == [line["exit_code"] for line in ended]


async def test_no_request_fails_while_every_worker_is_replaced(broker: BrokerClient):
    """A rolling restart under load: who is asked last answers before it goes."""
    await eventually(lambda: all_answer(broker))
    before = {worker.pid for worker in workers_of(broker.process)}
    told = asyncio.Event()
    loading = asyncio.create_task(load(broker, told))

    broker.process.process.send_signal(signal.SIGUSR1)

    async def replaced() -> bool:
        there = {worker.pid for worker in workers_of(broker.process)}
        return len(there) == WORKERS and there.isdisjoint(before)

    await eventually(replaced, seconds=60)
    told.set()
    seen = await loading
    assert {200} == set(seen)
    # Every token that somebody got is on record.
    assert len(seen) == len(await broker.rows())


async def test_a_reload_reaches_every_worker(broker: BrokerClient):
    """Who asks twice is not told two things."""
    await eventually(lambda: all_answer(broker))

    broker.process.hang_up()

    async def reloaded() -> bool:
        lines = broker.process.logged()
        workers = [line["worker"] for line in lines if line["message"] == "configuration reloaded"]
        return sorted(workers) == [1, 2]

    await eventually(reloaded)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told", "killed"])
async def test_none_outlives_the_supervisor(
    fresh: OneDatabase, tmp_path: Path, number: signal.Signals
):
    """However it ends: each holds the end of a pipe."""
    process = BrokerProcess(write_configuration(tmp_path, fresh.app_url), "--workers", str(WORKERS))
    process.wait_serving()
    workers = workers_of(process)

    process.process.send_signal(number)

    async def gone() -> bool:
        return not any(
            worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers
        )

    await eventually(gone)
    assert WORKERS == len(workers)
    assert process.process.wait(20) == (0 if number is signal.SIGTERM else -signal.SIGKILL)


def test_a_configuration_that_cannot_work_ends_all(fresh: OneDatabase, tmp_path: Path):
    """Exit code 2, as with one process: what does not mend by itself is not tried again."""
    config = write_configuration(tmp_path, fresh.app_url)
    (tmp_path / "policies" / "broker" / "exchange" / "decision.rego").write_text("package x\nfoo {")

    process = BrokerProcess(config, "--workers", str(WORKERS))
    process.process.wait(60)

    assert 2 == process.process.returncode
    assert "does not compile" in process.log.read_text()


@pytest.mark.parametrize(
    "by_workers", [False, True], ids=["by-another-program", "by-other-workers"]
)
def test_a_port_that_is_taken_is_said(fresh: OneDatabase, tmp_path: Path, by_workers: bool):
    """A port may be shared by the workers of one broker, and by nobody else."""
    port = free_port()
    config = write_configuration(
        tmp_path, fresh.app_url, listen={"host": "127.0.0.1", "port": port}
    )
    with socket.socket() as other:
        if by_workers:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        process = BrokerProcess(config, "--workers", str(WORKERS))
        process.process.wait(60)

    assert 2 == process.process.returncode
    assert "free the port" in process.log.read_text()
