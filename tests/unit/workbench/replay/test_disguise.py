"""Decisions that are taken along name no person, and are decided as the ones on record."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from broker.domain import Exchange, Principal
from broker.workbench.recorded import read_exchange
from broker.workbench.replay.disguise import SOURCE, Disguise, is_decision, render_kept
from broker.workbench.replay.past import Past, read_past
from tests import builders
from tests.decisions import allowance, refusal
from tests.invariants.cases import exchanges
from tests.replaying import past, record

ALICE = Principal(builders.IDP, "alice-canary")
BOB = Principal(builders.IDP, "bob-canary")
CLAIMS = {"email": "claim-canary@example.com", "tenant": "north"}
DISGUISE = Disguise(b"secret", harmless=frozenset({"tenant"}))


def of_alice(**overrides: Any) -> Past:
    """A decision for alice, whom bob acted for before."""
    subject = builders.verified_token(principal=ALICE, policy_claims=CLAIMS, chain=(BOB,))
    acting = builders.client().principal
    asked = builders.exchange(
        subject=subject,
        request=builders.token_exchange_request(source="203.0.113.9"),
        delegation=builders.delegation(chain=(acting, BOB), subject_chain=(BOB,), depth=2),
        **overrides,
    )
    found = read_past(record(asked))
    assert isinstance(found, Past)
    return found


def test_no_person_is_in_what_is_kept() -> None:
    """Not the subject, not an actor, no address, no claim but those that were said to be none."""
    line = render_kept(of_alice(), DISGUISE.input_of(of_alice())).decode()

    assert not [word for word in ("canary", "203.0.113", "alice", "bob") if word in line]
    assert '"tenant":"north"' in line
    assert SOURCE in line


def test_a_person_is_one_person_throughout_a_file_and_nobody_outside_of_it() -> None:
    """So loops are loops still, and two files cannot be joined."""
    one, again = (DISGUISE.input_of(of_alice())["subject"]["subject"] for _ in range(2))
    other = Disguise(b"another").input_of(of_alice())["subject"]["subject"]

    assert one == again
    assert one != other


@given(exchanges())
def test_who_is_whom_stays(asked: tuple[Exchange, int]) -> None:
    """Parties that were one are one, those that were two are two, and clients keep their names."""
    found = read_past(record(asked[0]))
    assert isinstance(found, Past)
    disguised = read_exchange(DISGUISE.input_of(found))
    plain = read_exchange(found.document)

    def parties(exchange: Exchange) -> list[Principal]:
        actor = () if exchange.actor is None else (exchange.actor.principal,)
        delegation = exchange.delegation
        return [exchange.subject.principal, *actor, delegation.acting, *delegation.chain]

    before, after = parties(plain), parties(disguised)
    assert [one == other for one in before for other in before] == [
        one == other for one in after for other in after
    ]
    for one, other in zip(before, after, strict=True):
        assert one.issuer == other.issuer
        assert (one.subject == other.subject) is (one.issuer == builders.BROKER)


def test_what_is_kept_is_read_as_any_record() -> None:
    """With the same decision, and when it was."""
    found = of_alice()
    kept = read_past(orjson.loads(render_kept(found, DISGUISE.input_of(found))))

    assert isinstance(kept, Past)
    assert (kept.id, kept.at, kept.client, kept.targets, kept.output) == (
        *(found.id, found.at, found.client, found.targets, found.output),
    )


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        pytest.param(allowance(), True, id="a yes"),
        pytest.param(refusal(), True, id="a no"),
        pytest.param(None, False, id="nothing"),
        pytest.param({"allow": "alice"}, False, id="what may repeat its input"),
    ],
)
def test_only_decisions_are_kept(output: object, kept: bool) -> None:
    """A policy at fault may quote whom it was asked about."""
    assert is_decision(output) is kept


def test_a_past_knows_whose_names_are_clients() -> None:
    """Our own issuer's."""
    assert past().issuer == builders.BROKER
