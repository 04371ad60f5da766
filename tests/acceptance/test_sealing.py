"""A running broker seals its trail, and says how that fares."""

from broker.audit.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from broker.audit.checkpoint_file import render_entries
from tests.audit import now
from tests.fixtures.postgres import execute
from tests.sealing import KEYS, ORIGIN
from tests.server import BrokerProcess, eventually, talk_to, write_configuration


async def test_a_running_broker_seals_its_trail(broker, broker_postgres):
    """Issue: without being asked, under the name of its issuer, by the key in its file."""

    async def sealed():
        return execute(broker_postgres.auditor_url, "SELECT note, size FROM audit_checkpoint")

    await eventually(sealed)

    for row in await sealed():
        assert row["size"] == verify_checkpoint(row["note"], KEYS.public, ORIGIN).size
    assert "good" == (await broker.admin("/health/ready")).json()["sealing"]
    metrics = (await broker.admin("/metrics")).text
    assert "broker_audit_seal_refusing 0.0" in metrics
    assert "broker_audit_seal_lag_seconds" in metrics


async def test_exchanges_go_on_while_sealing_is_refused(clean, tmp_path):
    """Issue: a database that lacks what has left it is not sealed on; tokens are issued, loudly."""
    ahead = sign_checkpoint(Checkpoint(ORIGIN, 10**6, bytes(32)), KEYS, now())
    (tmp_path / "kept").write_bytes(render_entries([ahead], b""))
    checkpoints = {"key_file": "checkpoint.key", "every": "1s", "file": "kept"}
    process = BrokerProcess(
        write_configuration(tmp_path, clean.app_url, audit={"checkpoints": checkpoints})
    )
    try:
        process.wait_ready()
        async with talk_to(process, clean.auditor_url) as broker:

            async def refused():
                ready = await broker.admin("/health/ready")
                assert 200 == ready.status_code
                return "refused" == ready.json()["sealing"]

            await eventually(refused)
            assert 200 == (await broker.exchange()).status_code
            assert "broker_audit_seal_refusing 1.0" in (await broker.admin("/metrics")).text
    finally:
        assert 0 == process.stop()

    (told,) = [line for line in process.logged() if line.get("level") == "CRITICAL"]
    assert "has a checkpoint of size 1000000, and the database only" in told["message"]
    assert ahead == (tmp_path / "kept").read_text()[:-1]
