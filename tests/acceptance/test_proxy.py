"""The token proxy over HTTP, by a broker as a process: a token endpoint, but near."""

import asyncio
import base64
import json
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.db.embedded import EmbeddedPostgres
from tests.fixtures.postgres import OneDatabase
from tests.proxying import SECRET, Provider, body_of, grant, provider_in_background
from tests.server import (
    BrokerClient,
    BrokerProcess,
    eventually,
    talk_to,
    write_configuration,
)

PATH = "/proxy/idp/token"
# A rule of one's own: what is asked for by checkout is for orders.
RULE = """# METADATA
# schemas:
#   - input: schema.proxy_input
package broker.proxy_rules.ledger

deny contains "proxy.scope_not_allowed" if {
	input.client.id == "billing"
	"orders.write" in input.request.scopes
}
"""


def forbid(folder: Path) -> None:
    """Add the rule to the policies of a configuration."""
    rules = folder / "policies/broker/proxy_rules/ledger"
    rules.mkdir(parents=True)
    (rules / "ledger.rego").write_text(RULE)


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    """The identity provider of all tests here."""
    with provider_in_background() as running:
        yield running


@pytest.fixture(scope="module")
def process(
    idp: Provider, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """``broker serve`` before it; its log holds no secret and no token in the end."""
    folder = tmp_path_factory.mktemp("proxy")
    upstream = idp.settings(timeout="10s")  # however busy the machine is
    config = write_configuration(folder, postgres.app_url, upstreams=[upstream])
    forbid(folder)
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        yield process
    finally:
        code = process.stop()
    log = process.log.read_text(errors="replace")
    assert 0 == code, log
    for secret in (SECRET, urllib.parse.quote_plus(SECRET), "upstream-token", "eyJ"):
        assert secret not in log


@pytest.fixture
async def broker(process: BrokerProcess, postgres: EmbeddedPostgres) -> AsyncIterator[BrokerClient]:
    """A client of it."""
    async with talk_to(process, postgres.auditor_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _forget(idp: Provider) -> Iterator[None]:
    yield
    idp.answer, idp.pause, idp.members = None, 0.0, {}
    idp.forms.clear()
    idp.heads.clear()


def scope_of(test: str) -> str:
    """A scope that no other test asks for, so that nothing is kept of it."""
    return f"scope.{test}"


async def ask(
    broker: BrokerClient, *, secret: str = SECRET, client: str = "checkout", **form: str
) -> httpx.Response:
    """Ask as a service would."""
    auth = tuple(urllib.parse.quote_plus(part) for part in (client, secret))
    return await broker.request("POST", PATH, data=[*grant(**form).items()], auth=auth)


async def test_a_service_changes_its_token_url_and_nothing_else(broker, idp):
    """RFC 6749 §4.4.3: the same answer, and the second time nobody upstream is asked."""
    scope = scope_of("first")
    first = await ask(broker, scope=scope, tenant="blue", resource="https://orders.test/")
    again = await ask(broker, scope=scope, tenant="blue", resource="https://orders.test/")

    assert (200, 200) == (first.status_code, again.status_code)
    assert body_of(first) == body_of(again)
    assert {"token_type": "Bearer", "scope": scope}.items() <= body_of(first).items()
    assert 3590 < first.json()["expires_in"] < 3600
    assert ("no-store", "application/json") == (
        first.headers["cache-control"],
        first.headers["content-type"],
    )
    assert [grant(scope=scope, tenant="blue", resource="https://orders.test/")] == idp.forms
    assert ["issued"] == await broker.audited("proxy")


async def test_a_secret_in_the_body_is_forwarded_there(broker, idp):
    """Whichever method a service uses, it goes on using it."""
    form = grant(scope=scope_of("body"), client_id="checkout", client_secret=SECRET)
    response = await broker.request("POST", PATH, data=[*form.items()])

    assert (200, [form]) == (response.status_code, idp.forms)
    assert "authorization" not in idp.heads[0].lower()


async def test_a_wrong_secret_gets_the_upstream_s_own_error(broker, idp):
    """Status, body and challenge; and beside a kept token of the right one."""
    scope = scope_of("wrong")
    await ask(broker, scope=scope)
    refused = await ask(broker, secret="not it", scope=scope)

    assert (401, 'Basic realm="idp"') == (refused.status_code, refused.headers["www-authenticate"])
    assert {"error": "invalid_client", "error_description": "no", "trace_id": "t-1"} == (
        refused.json()
    )
    assert 2 == idp.calls
    assert ["issued", "proxy.refused_upstream"] == await broker.audited("proxy")


async def test_when_to_come_again_is_handed_on(broker, idp):
    """RFC 9110 §10.2.3."""
    idp.answer = (
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nContent-Type: application/json\r\n"
        b'Content-Length: 21\r\n\r\n{"error":"slow_down"}'
    )
    refused = await ask(broker, scope=scope_of("retry"))

    assert (429, "17", {"error": "slow_down"}) == (
        refused.status_code,
        refused.headers["retry-after"],
        refused.json(),
    )


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 502, id="500"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            502,
            id="redirect",
        ),
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503, id="503"),
    ],
)
async def test_an_upstream_that_answers_nothing_useful_is_ours_to_explain(
    broker, idp, answer, status
):
    """An OAuth error, which every library understands."""
    idp.answer = answer
    refused = await ask(broker, scope=scope_of(f"bad{status}{len(answer)}"))

    assert status == refused.status_code
    assert {"error", "error_description"} == refused.json().keys()


async def test_a_rule_of_ones_own_forbids_a_combination(broker, idp):
    """``data.broker.proxy.decision``: upstream, client and scope."""
    refused = await ask(broker, client="billing", scope="orders.read orders.write")
    allowed = await ask(broker, client="billing", scope="orders.read")

    assert (400, "invalid_scope") == (refused.status_code, refused.json()["error"])
    assert 200 == allowed.status_code
    assert ["proxy.scope_not_allowed", "issued"] == await broker.audited("proxy")
    row = (await broker.records("proxy"))[0]
    assert ["orders.read", "orders.write"] == row["personal"]["policy_input"]["request"]["scopes"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        pytest.param("GET", PATH, {}, 405, id="get"),
        pytest.param("POST", "/proxy/other/token", {"data": []}, 404, id="unknown-upstream"),
        pytest.param("POST", f"{PATH}/", {"data": []}, 404, id="trailing-slash"),
        pytest.param("POST", "/proxy/token", {"data": []}, 404, id="no-upstream"),
        pytest.param("POST", PATH, {"json": grant()}, 400, id="json"),
        pytest.param("POST", f"{PATH}?client_secret=a", {"data": []}, 400, id="query"),
        pytest.param("POST", PATH, {"data": [("a", "x" * 70_000)]}, 413, id="too-large"),
        pytest.param("POST", PATH, {"data": [*grant().items()]}, 401, id="nobody"),
        pytest.param(
            "POST", PATH, {"data": [*grant().items()], "auth": ("mallory", "x")}, 400, id="mallory"
        ),
    ],
)
async def test_what_is_no_request_is_refused_and_goes_nowhere(
    broker, idp, method, path, options, status
):
    """And says why as RFC 6749 §5.2 has it, where there is an endpoint."""
    response = await broker.request(method, path, **options)

    assert status == response.status_code
    assert 0 == idp.calls


async def test_three_thousand_on_a_cold_start_cause_twenty_calls(process, idp):
    """Over real connections; as many as a listener serves at one time, and some."""
    idp.pause = 3.0
    scopes = [f"cold.{number % 20}" for number in range(3000)]
    answers = await asyncio.gather(*(fetch(process.port, scope) for scope in scopes))

    assert Counter({f"cold.{n}": 1 for n in range(20)}) == idp.scopes()
    assert scopes == [answer["scope"] for answer in answers]
    assert 20 == len({answer["access_token"] for answer in answers})


async def fetch(port: int, scope: str) -> dict[str, Any]:
    """A request on a connection of its own, without a client library's weight."""
    body = urllib.parse.urlencode(
        grant(scope=scope, client_id="checkout", client_secret=SECRET)
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    head_, _, document = answer.partition(b"\r\n\r\n")
    assert b"200" in head_.split(b"\r\n")[0], head_
    return json.loads(document)


async def test_a_token_is_renewed_behind_those_who_use_it(broker, idp):
    """Within its margin; nobody waits for it, and nobody gets one that is over."""
    idp.members = {"expires_in": 4}
    seen: list[tuple[str, int]] = []

    async def renewed() -> bool:
        answer = (await ask(broker, scope=scope_of("renewed"))).json()
        seen.append((answer["access_token"], answer["expires_in"]))
        return len({token for token, _ in seen}) == 3

    await eventually(renewed)

    assert 3 <= idp.calls <= 4
    assert all(1 <= left <= 4 for _, left in seen)


async def test_what_was_served_is_counted_by_its_outcome(broker):
    """Hits, calls and refusals, for whoever wants to know what it saves."""
    await asyncio.gather(*(ask(broker, scope=scope_of("counted")) for _ in range(5)))
    await ask(broker, scope=scope_of("counted"))
    metrics = (await broker.admin("/metrics")).text

    assert 'broker_proxy_answers_total{outcome="hit",upstream="idp"}' in metrics
    assert 'broker_proxy_answers_total{outcome="shared",upstream="idp"}' in metrics
    assert 'broker_proxy_upstream_calls_total{outcome="token",upstream="idp"}' in metrics
    assert "checkout" not in metrics


async def test_at_an_address_of_its_own_it_is_nowhere_else(fresh: OneDatabase, tmp_path, idp):
    """And its hits are on record when the process has ended."""
    config = write_configuration(
        tmp_path,
        fresh.app_url,
        upstreams=[idp.settings()],
        proxy={"listen": {"host": "127.0.0.1", "port": 0}},
    )
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        port = next(line for line in process.logged() if line["message"] == "serving")["proxy_port"]
        async with talk_to(process, fresh.auditor_url) as broker:
            elsewhere = await ask(broker)
            for _ in range(3):
                await fetch(port, "own")
            async with httpx.AsyncClient() as client:
                other = await client.post(f"http://127.0.0.1:{port}/token")
            code = process.stop()
            (hits,) = await broker.records("hits")
    finally:
        process.kill()

    assert (404, 404, 0) == (elsewhere.status_code, other.status_code, code)
    assert [{"upstream": "idp", "client": "checkout", "scope": "own", "hits": 2}] == hits["hits"]


async def test_what_was_fetched_before_a_restart_is_found_after_it(
    fresh: OneDatabase, tmp_path, idp, own_redis
):
    """In the store that processes share, where nobody else can read it."""
    (tmp_path / "proxy.key").write_text(base64.b64encode(bytes(32)).decode())
    (tmp_path / "proxy.key").chmod(0o600)
    store = {"url": "${REDIS_URL}", "key_file": "proxy.key", "deadline": "1s"}
    config = write_configuration(
        tmp_path, fresh.app_url, upstreams=[idp.settings()], proxy={"store": store}
    )
    tokens = []
    for _ in range(2):
        process = BrokerProcess(config, environ={"REDIS_URL": own_redis.url})
        try:
            process.wait_ready()
            tokens.append((await fetch(process.port, "restart"))["access_token"])
            assert 0 == process.stop()
        finally:
            process.kill()
        assert own_redis.password not in process.log.read_text()

    assert 1 == idp.calls
    assert tokens[0] == tokens[1]


async def test_a_reload_asks_the_new_policy_about_what_is_kept(fresh: OneDatabase, tmp_path, idp):
    """What was fetched while it was allowed is not served when it is not."""
    config = write_configuration(tmp_path, fresh.app_url, upstreams=[idp.settings()])
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        async with talk_to(process, fresh.auditor_url) as broker:
            before = await ask(broker, client="billing", scope="orders.write")
            forbid(tmp_path)
            process.hang_up()

            async def refused() -> bool:
                after = await ask(broker, client="billing", scope="orders.write")
                return after.status_code == 400

            await eventually(refused)
            kept = await ask(broker, client="billing", scope="orders.read")
            calls = idp.calls
            again = await ask(broker, client="billing", scope="orders.read")
    finally:
        process.stop()

    assert (200, 200, 200) == (before.status_code, kept.status_code, again.status_code)
    assert (2, 2) == (calls, idp.calls)
