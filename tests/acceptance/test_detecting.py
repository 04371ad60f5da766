"""A running broker looks through its trail, and a restart forgets nothing."""

from contextlib import asynccontextmanager

from tests.detecting import alerts
from tests.fixtures.postgres import execute
from tests.server import BrokerProcess, eventually, talk_to, write_configuration
from tests.wire import assert_issued, basic, exchange_form

EVERY = {"key_file": "checkpoint.key", "every": "100ms"}
RULES = {"use_after_revocation": {"threshold": "4/1h"}}


@asynccontextmanager
async def looking(folder, made):
    """A broker that looks through what is sealed from now on."""
    audit = {"checkpoints": EVERY, "alerts": {"rules": RULES}}
    process = BrokerProcess(write_configuration(folder, made.app_url, audit=audit))
    try:
        process.wait_ready()
        async with talk_to(process, made.auditor_url) as broker:

            async def looks():
                return execute(made.app_url, "SELECT FROM audit_cursor WHERE name = 'detect'")

            await eventually(looks)
            yield broker, process
    finally:
        assert 0 == process.stop()


async def try_again(broker, token):
    """Twice, with a token that was given back."""
    form = exchange_form(subject_token=token, audience="svc-c", scope="orders.read")
    answers = [await broker.exchange(form, auth=basic("svc-b")) for _ in range(2)]
    assert [400, 400] == [one.status_code for one in answers]


async def test_a_restart_forgets_nothing(fresh, tmp_path):
    """Issue: an alert is a row, a metric and a line in the log, of refusals before and after."""
    async with looking(tmp_path, fresh) as (broker, _):
        token = assert_issued(await broker.exchange())["access_token"]
        assert 200 == (await broker.revoke(token)).status_code
        await try_again(broker, token)
    async with looking(tmp_path, fresh) as (broker, process):
        await try_again(broker, token)

        async def told():
            return alerts(fresh)

        await eventually(told)
        ((id_, rule, _, record),) = await told()
        metrics = (await broker.admin("/metrics")).text

    refused = execute(
        fresh.auditor_url, "SELECT id FROM audit_event WHERE outcome = 'refused' ORDER BY id"
    )
    assert ("use_after_revocation", 4) == (rule, record["details"]["observed"])
    assert [str(row["id"]) for row in refused] == record["details"]["evidence"]
    labels = 'rule="use_after_revocation",severity="high",suppressed="no"'
    assert f"broker_audit_alerts_total{{{labels}}} 1.0" in metrics
    (line,) = [one for one in process.logged() if "alert: use_after" in one.get("message", "")]
    assert ("WARNING", id_) == (line["level"], line["row"])
