"""What scenarios say of supposed tokens holds of signed ones, in all ten examples, to the second.

Each token is signed, verified, exchanged, minted and signed again, by the pipeline's own steps.
"""

import asyncio
from datetime import datetime
from pathlib import Path

import orjson
import pytest
import yaml

from broker.domain import Client, Deny, Exchange, Permit, TokenExchangeRequest, VerifiedToken
from broker.errors import Reason, Rejected
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import load_keys
from broker.minting.claims import build_claims
from broker.policy.bundle import build_bundle
from broker.policy.input import build_input
from broker.policy.targets import TargetRegistry
from broker.settings import Settings
from broker.tokens.delegation import delegate
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from broker.workbench.candidate import Candidate
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.scenario import Request, Scenario
from broker.workbench.scenarios.setting import PARTIES
from broker.workbench.suppose import find_client
from tests.builders import token_exchange_request
from tests.examples import NAMES, make_whole, sign, with_keys
from tests.jwts import jwt, public_jwk
from tests.verification import OWN_KEY, ReferenceMemory

OURS = load_keys({"keys": [public_jwk(OWN_KEY, alg="ES256")]}, ["ES256"])


class Broker:
    """Steps 2 to 5 of the pipeline over an example's configuration and policy."""

    def __init__(self, folder: Path) -> None:
        document = with_keys(yaml.safe_load((folder / "broker.yaml").read_text()))
        parties = {name: value for name, value in document.items() if name in PARTIES}
        self.settings = Settings.model_validate(parties)
        self.candidate = Candidate(
            build_bundle(folder / "policies"), ceiling=self.settings.max_delegation_depth
        )
        self._targets = TargetRegistry(self.settings.targets, max_targets=self.settings.max_targets)
        self._verifier = TokenVerifier(
            IssuerRegistry(self.settings.issuers, own=self.settings.issuer, own_keys=lambda: OURS),
            issuer=self.settings.issuer,
            clients=self.settings.clients,
            targets=self.settings.targets,
            references=References(ReferenceMemory()),
        )

    async def exchange(
        self, asked: Request, at: datetime, token: str, declared: str
    ) -> Permit | Reason:
        """What becomes of a signed token at that time."""
        client = find_client(asked.client, self.settings)
        if not client.grant_types:
            return Reason.CLIENT_GRANT_TYPE_NOT_ALLOWED
        actor = None
        if asked.actor is not None:
            actor = sign(asked.actor, self.settings, asked.client, at)
        request = token_exchange_request(
            unverified_subject_token=token,
            subject_token_type=declared,
            unverified_actor_token=actor,
            actor_token_type=None if asked.actor is None else asked.actor.token_type.value,
            audiences=asked.audiences,
            scope=" ".join(asked.scopes) or None,
            purpose=asked.purpose,
            source=asked.source,
        )
        try:
            subject = await self._verifier.verify_subject(request, client, now=at)
            acting = await self._verifier.verify_actor(request, client, now=at)
            return self._decide(request, client, subject, acting, at, asked.scopes)
        except Rejected as rejected:
            return rejected.reason

    def _decide(
        self,
        request: TokenExchangeRequest,
        client: Client,
        subject: VerifiedToken,
        actor: VerifiedToken | None,
        at: datetime,
        scopes: tuple[str, ...],
    ) -> Permit | Reason:
        exchange = Exchange(
            request=request,
            at=at,
            client=client,
            subject=subject,
            actor=actor,
            delegation=delegate(subject, actor, client, ceiling=self.settings.max_delegation_depth),
            targets=self._targets.find(request, client),
            scopes=scopes,
        )
        found = self.candidate.judge(exchange, orjson.dumps(build_input(exchange)))
        assert isinstance(found, Permit | Deny), found
        return found if isinstance(found, Permit) else found.reasons[0]

    async def differs(self, scenario: Scenario) -> str:
        """What comes out otherwise than the scenario says; empty if nothing does."""
        first = scenario.steps[0].request
        token = sign(scenario.subject, self.settings, first.client, first.at)
        declared, at = scenario.subject.token_type.value, first.at
        for step in scenario.steps:
            at += step.after
            got = await self.exchange(step.request, at, token, declared)
            if isinstance(got, Reason):
                return "" if got is step.then.refused else f"{scenario.name}: {got}"
            sources = {each.scope: each.source for each in got.derived}
            granted = {scope: sources.get(scope) for scope in got.scopes}
            if step.then.refused is not None or granted != step.then.granted:
                return f"{scenario.name}: {granted}"
            for expected, had in (
                (step.then.lifetime, got.expires_at - at),
                (step.then.chain, got.chain),
            ):
                if expected is not None and expected != had:
                    return f"{scenario.name}: {had}"
            body = build_claims(got, issuer=self.settings.issuer, id=f"id-{at}", now=at)
            token = jwt(body, key=OWN_KEY, header={"typ": "at+jwt"})
            declared = "urn:ietf:params:oauth:token-type:access_token"
        return ""


@pytest.mark.parametrize("name", NAMES)
def test_signed_tokens_come_out_as_the_scenarios_say(name: str, tmp_path: Path) -> None:
    """No scenario passes by a check that a real token would not pass."""
    folder = make_whole(name, tmp_path)
    broker = Broker(folder)
    (path,) = find_scenario_files([folder])

    async def ask() -> list[str]:
        found = read_scenarios(path).scenarios
        return [said for each in found if (said := await broker.differs(each))]

    try:
        assert [] == asyncio.run(ask())
    finally:
        broker.candidate.close()
