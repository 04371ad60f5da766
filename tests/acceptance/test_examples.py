"""Three of the examples end to end: a real broker, real tokens, and what was recorded of it."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from broker.db.embedded import EmbeddedPostgres
from broker.oauth import TokenType
from broker.settings import Settings
from broker.workbench.question import SupposedToken
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.scenario import Scenario
from broker.workbench.scenarios.sheet import NOON
from tests.configuration import AUDIT_KEYS, secret, write_keys
from tests.configuration import _client as with_secret
from tests.examples import KEY, make_whole, sign, with_keys
from tests.jwts import jwt, unverified_claims
from tests.server import BrokerClient, BrokerProcess, talk_to
from tests.wire import assert_issued, assert_refused, exchange_form

# Whenever the suite runs.
ALWAYS: Final = [
    {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "from": "00:00",
        "to": "24:00",
        "utc_offset": "+00:00",
    }
]


class Running:
    """A broker that runs an example."""

    def __init__(self, client: BrokerClient, document: dict[str, Any], folder: Path) -> None:
        self.client = client
        self._folder = folder
        self._issuers = {each["alias"]: each["issuer"] for each in document["issuers"]}

    def token(self, alias: str, subject: str, audience: str, **claims: Any) -> str:
        """A token as that issuer signs it."""
        now = int(time.time())
        body = {
            "iss": self._issuers[alias],
            "sub": subject,
            "aud": audience,
            "iat": now - 5,
            "exp": now + 600,
            "jti": str(uuid.uuid4()),
        }
        return jwt(body | claims, key=KEY)

    async def ask(
        self, client: str, target: str, scope: str, token: str, **parameters: str
    ) -> httpx.Response:
        """Ask as that client."""
        form = exchange_form(subject_token=token, audience=target, scope=scope, **parameters)
        return await self.client.exchange(form, auth=(client, secret(client)))

    async def ask_scenarios(self) -> list[str]:
        """Ask every scenario of the example over HTTP, and return what comes out otherwise.

        Those at another time than the usual one are left out: a broker has its own clock.
        """
        (path,) = find_scenario_files([self._folder])
        file = read_scenarios(path)
        usual = [each for each in file.scenarios if each.steps[0].request.at == NOON]
        assert len(usual) >= len(file.scenarios) - 5
        return [said for each in usual if (said := await self._differs(each, file.settings))]

    async def _differs(self, scenario: Scenario, settings: Settings) -> str:
        token = self._signed(scenario.subject, scenario.steps[0].request.client, settings)
        declared = scenario.subject.token_type.value
        for step in scenario.steps:
            asked, then = step.request, step.then
            form = exchange_form(
                subject_token=token,
                subject_token_type=declared,
                audience=list(asked.audiences) or None,
                scope=" ".join(asked.scopes) or None,
                purpose=asked.purpose,
            )
            response = await self.client.exchange(form, auth=(asked.client, secret(asked.client)))
            got = response.json()
            if then.refused is not None:
                reason = (await self.client.audited())[-1]
                return "" if reason == then.refused else f"{scenario.name}: {reason}"
            if set(got.get("scope", "").split()) != set(then.granted):
                return f"{scenario.name}: {got.get('scope') or (await self.client.audited())[-1]}"
            token, declared = got["access_token"], TokenType.ACCESS_TOKEN.value
        return ""

    def _signed(self, supposed: SupposedToken, client: str, settings: Settings) -> str:
        """The token that is supposed, as its issuer would sign it now."""
        now = datetime.now(UTC)
        said = dict(supposed.claims)
        if "auth_time" in said:
            said["auth_time"] += int((now - NOON).total_seconds())
        return sign(replace(supposed, claims=said), settings, client, now)

    async def get(self, *asked: str, **parameters: str) -> str:
        """Ask for what is given, and return the token."""
        issued = assert_issued(await self.ask(*asked, **parameters))
        token = issued["access_token"]
        assert isinstance(token, str)
        return token


@asynccontextmanager
async def running(name: str, place: Path, postgres: EmbeddedPostgres) -> AsyncIterator[Running]:
    """Run an example as it stands, but for its place and for keys that a test can have."""
    folder = make_whole(name, place)
    document = with_keys(yaml.safe_load((folder / "broker.yaml").read_text()))
    for client in document["clients"]:
        del client["auth"], client["jwks_uri"]
        client.update(with_secret(client["id"]))
    document |= {
        "listen": {"host": "127.0.0.1", "port": 0},
        "admin": {"host": "127.0.0.1", "port": 0},
        "database": {"url": postgres.app_url},
        "keys": {"kek_file": "kek"},
        "audit": AUDIT_KEYS,
        "trusted_proxies": ["127.0.0.1"],
    }
    write_keys(folder)
    (folder / "broker.yaml").write_text(yaml.safe_dump(document))
    parameters = folder / "policies/broker/parameters/data.yaml"
    data = yaml.safe_load(parameters.read_text()) or {}
    data["hours"] = dict.fromkeys(data.get("hours", {}), ALWAYS)
    parameters.write_text(yaml.safe_dump(data))
    process = BrokerProcess(folder / "broker.yaml")
    try:
        process.wait_ready()
        async with talk_to(process, postgres.auditor_url) as client:
            yield Running(client, document, folder)
    finally:
        assert 0 == process.stop()


async def test_every_call_has_a_token_of_its_own(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """An order is paid and booked, each hop narrower; stolen tokens are nobody's."""
    async with running("per-call-authorization", tmp_path, postgres) as shop:
        customer = shop.token("login", "alice", "orders", scope="orders.read orders.write")
        paid = await shop.get("orders", "payments", "payments.charge", customer)
        booked = await shop.get("payments", "ledger", "ledger.append", paid)
        claims = unverified_claims(booked)

        assert ("ledger", "ledger.append", 2) == (
            claims["aud"],
            claims["scope"],
            claims["delegation_depth"],
        )
        assert ("alice", "payments", "orders") == (
            claims["sub_id"]["sub"],
            claims["act"]["sub"],
            claims["act"]["act"]["sub"],
        )
        assert claims["exp"] - claims["iat"] <= 30

        back = await shop.ask("payments", "ledger", "ledger.append", booked)
        assert_refused(back, "invalid_request")
        straight = await shop.ask("orders", "ledger", "ledger.append", customer)
        assert_refused(straight, "invalid_target")
        onward = await shop.ask("ledger", "payments", "payments.refund", booked)
        assert_refused(onward, "unauthorized_client")
        assert [
            "issued",
            "issued",
            "subject_token.audience_mismatch",
            "policy.target_not_granted",
            "client.grant_type_not_allowed",
        ] == await shop.client.audited()
        assert [] == await shop.ask_scenarios()


async def test_a_job_of_the_ci_deploys_where_it_may(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Main goes to production, once; a branch, a fork and a log get nothing."""
    release = {
        "repository": "shop/web",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "environment": "production",
    }
    async with running("ci-cd-environments", tmp_path, postgres) as ci:

        def job(**claims: Any) -> str:
            subject = "repo:shop/web:environment:production"
            return ci.token("ci", subject, "https://broker.shop.example", **release | claims)

        deploy = ("deployer", "production", "deploy.write")
        first = job()
        claims = unverified_claims(await ci.get(*deploy, first))

        assert ("production", "deploy.write") == (claims["aud"], claims["scope"])
        assert claims["exp"] - claims["iat"] <= 300
        refused = [
            (first, "invalid_request"),
            (job(ref="refs/heads/try"), "invalid_request"),
            (job(repository="mallory/web"), "invalid_request"),
            (job(iat=int(time.time()) - 3600), "invalid_request"),
        ]
        for token, error in refused:
            assert_refused(await ci.ask(*deploy, token), error)
        assert_refused(
            await ci.ask("deployer", "production", "secrets.read", job()), "invalid_scope"
        )
        assert [
            "issued",
            "subject_token.replayed",
            "policy.denied",
            "policy.denied",
            "subject_token.too_old",
            "policy.scope_not_granted",
        ] == await ci.client.audited()
        assert [] == await ci.ask_scenarios()


async def test_administration_is_for_minutes_and_for_a_reason(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """A change by an administrator, an incident by who is on call, and nothing without a ticket."""
    async with running("temporary-admin-elevation", tmp_path, postgres) as ops:

        def session(*groups: str, signed_in: float = 60) -> str:
            shown = {"groups": list(groups), "amr": ["pwd", "hwk"]}
            when = int(time.time() - signed_in)
            return ops.token(
                "login", "ada", "console", scope="cluster.read", auth_time=when, **shown
            )

        elevate = ("console", "cluster", "cluster.admin")
        claims = unverified_claims(await ops.get(*elevate, session("admins"), purpose="CHG-1201"))

        assert ("https://cluster.ops.example/", "cluster.admin") == (claims["aud"], claims["scope"])
        assert claims["exp"] - claims["iat"] <= 600
        await ops.get(*elevate, session("on-call"), purpose="INC-77")
        for token, parameters in (
            (session("admins"), {}),
            (session("admins", signed_in=600), {"purpose": "CHG-1201"}),
            (session("staff"), {"purpose": "CHG-1201"}),
        ):
            assert_refused(await ops.ask(*elevate, token, **parameters), "invalid_request")
        records = await ops.client.records()

        assert ["issued", "issued", *["policy.denied"] * 3] == await ops.client.audited()
        assert [[], ["alert"]] == [_obligations(record) for record in records[:2]]
        assert [] == await ops.ask_scenarios()


def _obligations(record: dict[str, Any]) -> list[str]:
    found = record.get("obligations", [])
    assert isinstance(found, list)
    return found
