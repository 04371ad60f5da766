"""A running broker seals its trail, and says how that fares."""

from broker.audit.checkpoint import verify_checkpoint
from tests.fixtures.postgres import execute
from tests.sealing import KEYS, ORIGIN
from tests.server import eventually


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
