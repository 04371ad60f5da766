"""What a policy obliges the broker to, over HTTP: a rule of one's own, and who is told."""

from functools import partial
from pathlib import Path

from tests.detecting import alerts
from tests.fixtures.postgres import execute
from tests.jwts import subject_jwt
from tests.server import BrokerProcess, eventually, talk_to, write_configuration
from tests.wire import assert_issued, exchange_form

# Orders may be written only by who breaks the glass, and then somebody is told.
RULE = """# METADATA
# schemas:
#   - input: schema.input
package broker.rules.writing

import data.broker.library.asks
import data.broker.library.ticket

deny contains "policy.denied" if {
	asks.scope("orders.write")
	not ticket.given("incident")
}

oblige contains "alert" if {
	asks.scope("orders.write")
	ticket.given("incident")
}
"""
PARAMETERS = "ticket: {incident: {projects: [INC]}}\n"


def write_rule(folder: Path) -> None:
    """Add the rule and its parameters to the policies of a configuration."""
    for place, text in {
        "rules/writing/writing.rego": RULE,
        "parameters/data.yaml": PARAMETERS,
    }.items():
        path = folder / "policies/broker" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def test_a_token_that_obliges_to_an_alert_is_told_of_everywhere(fresh, tmp_path):
    """Its row says so, the log and a metric do, and the trail raises an alert from the row."""
    audit = {"checkpoints": {"key_file": "checkpoint.key", "every": "100ms"}}
    config = write_configuration(tmp_path, fresh.app_url, audit=audit)
    write_rule(tmp_path)
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        async with talk_to(process, fresh.auditor_url) as broker:

            async def looks():
                return execute(fresh.app_url, "SELECT FROM audit_cursor WHERE name = 'detect'")

            await eventually(looks)
            token = subject_jwt(scope="orders.read orders.write")
            form = partial(exchange_form, subject_token=token)
            plain = await broker.exchange(form(scope="orders.read"))
            refused = await broker.exchange(form(scope="orders.write"))
            obliged = await broker.exchange(form(scope="orders.write", purpose="INC-7"))
            assert_issued(plain)
            assert 400 == refused.status_code
            assert_issued(obliged)

            async def told():
                return alerts(fresh)

            await eventually(told)
            ((_, rule, client, alert),) = await told()
            records = await broker.records()
            metrics = (await broker.admin("/metrics")).text
    finally:
        assert 0 == process.stop()

    assert [None, None, ["alert"]] == [one.get("obligations") for one in records]
    made = records[2]["id"]
    assert ("obliged", "high", [made]) == (rule, alert["severity"], alert["details"]["evidence"])
    assert client == records[2]["client"]["id"]
    assert 'broker_policy_obligations_total{obligation="alert"} 1.0' in metrics
    (line,) = [one for one in process.logged() if "audit_id" in one]
    assert ("WARNING", made, ["svc-b"]) == (line["level"], line["audit_id"], line["targets"])
