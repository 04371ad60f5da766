"""Two brokers on one database, one of them cut off from it: it refuses rather than not know."""

import asyncio
import uuid
from functools import partial

import pytest

from broker.blocklist.rule import Scope
from broker.blocklist.store import Ledger
from broker.db.engine import Database
from broker.errors import PUBLIC, Reason
from tests import server
from tests.between import between
from tests.jwts import IDP, subject_jwt
from tests.server import BrokerProcess, talk_to, write_configuration
from tests.wire import assert_refused, exchange_form

# Ten seconds until it is stale, on a machine that is busy with the rest of the suite.
eventually = partial(server.eventually, seconds=90)
UNKNOWN = PUBLIC[Reason.REVOCATION_UNAVAILABLE].description


@pytest.mark.row("OP-05", "DRILL-11", "INV-10", "TX-2.2.2-06")
async def test_a_replica_that_is_cut_off_refuses_and_never_accepts_what_was_revoked(
    fresh, tmp_path
):
    """Promises 4: the bound holds, or the replica refuses; it is ready again by itself."""
    database = Database(fresh.app_url)
    async with between(fresh.app_url) as proxy:
        folders = [tmp_path / name for name in ("cut-off", "connected")]
        processes = []
        for folder, url in zip(folders, (proxy.url, fresh.app_url), strict=True):
            folder.mkdir()
            processes.append(BrokerProcess(write_configuration(folder, url)))
        cut_off, connected = processes
        try:
            for process in processes:
                await asyncio.to_thread(process.wait_ready)
            async with (
                talk_to(cut_off, fresh.auditor_url) as alone,
                talk_to(connected, fresh.auditor_url) as other,
            ):
                jti = str(uuid.uuid4())
                token = subject_jwt(jti=jti)
                before = [await status(one, token) for one in (alone, other)]
                proxy.refuses = True
                proxy.cut()
                await Ledger(database).append(
                    Scope.JTI, issuer=IDP, key=jti, reason="a test", by="a test"
                )
                # Whatever the one that is cut off says meanwhile, it gives no token away.
                await eventually(lambda: refuses(other, token, Reason.SUBJECT_TOKEN_REVOKED))
                meanwhile = await status(alone, token)
                await eventually(lambda: refuses(alone, token, Reason.REVOCATION_UNAVAILABLE))
                stale = await alone.exchange(exchange_form(subject_token=token))
                readiness = (await alone.admin("/health/ready")).json()["checks"]
                proxy.forward()
                await eventually(lambda: refuses(alone, token, Reason.SUBJECT_TOKEN_REVOKED))
                await eventually(lambda: is_ready(alone))
                after = [await status(one, subject_jwt()) for one in (alone, other)]
        finally:
            codes = [process.stop() for process in processes]
            await database.aclose()

    assert [200, 200] == before == after
    assert meanwhile == 503
    assert UNKNOWN == assert_refused(stale, "temporarily_unavailable", 503)
    assert "retry-after" in stale.headers
    assert not readiness["revocations"]
    assert [0, 0] == codes


async def status(broker, token) -> int:
    return (await broker.exchange(exchange_form(subject_token=token))).status_code


async def refuses(broker, token, reason) -> bool:
    """Whether that is the answer now; never a token, once it knows or does not know."""
    response = await broker.exchange(exchange_form(subject_token=token))
    return response.json().get("error_description") == PUBLIC[reason].description


async def is_ready(broker) -> bool:
    return (await broker.admin("/health/ready")).status_code == 200
