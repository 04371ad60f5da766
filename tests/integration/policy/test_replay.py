"""Decisions made again by a real policy: the same, another one, and ones that misbehave."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from broker.domain import Exchange, Principal
from broker.policy.bundle import Bundle, build_bundle
from broker.policy.difference import Kind
from broker.policy.input import build_input
from broker.workbench.candidate import Candidate
from broker.workbench.replay.disguise import Disguise
from broker.workbench.replay.past import Cause
from broker.workbench.replay.replayer import CEILING, MOST_FAILURES, Keep, Replayer, undisturbed
from tests import builders
from tests.decisions import allowance, refusal
from tests.invariants.cases import exchanges
from tests.replaying import always, record, write_policy

# What it does goes by who asks: all but one of these break it, each in another way.
MISBEHAVES = """
_many := numbers.range(1, 100000)

decision := count([1 | some i in _many; some j in _many; i == j]) if input.client.id == "spins"

decision := numbers.range(1, 100000000) if input.client.id == "fills"

decision := input.client.id if input.client.id == "traps"

decision := input.client.auth_method if input.client.id == "traps"

decision := {"allow": "yes"} if input.client.id == "babbles"

# Long, and made in no time, for it is not to be late.
_line := concat("", [x | some n in numbers.range(1, 100); x := "xxxxxxxxxx"])

decision := concat("", [x | some n in numbers.range(1, 700); x := _line]) if {
	input.client.id == "floods"
}

decision := %s if input.client.id == "svc-a"
"""


@pytest.fixture(scope="module")
def stock(bundle: Bundle) -> Iterator[Candidate]:
    """The stock policy."""
    candidate = Candidate(bundle, ceiling=CEILING)
    yield candidate
    candidate.close()


def build(folder: Path, rego: str) -> Candidate:
    return Candidate(build_bundle(write_policy(folder, rego)), ceiling=CEILING)


def of_client(name: str) -> Exchange:
    return builders.exchange(client=builders.client(name))


def replayed(replayer: Replayer, *records: dict[str, Any]) -> Replayer:
    replayer.feed(records)
    return replayer


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exchanges())
def test_the_same_policy_decides_the_same(stock: Candidate, asked: tuple[Exchange, int]) -> None:
    """Whatever was asked: a difference is one of the policies, and never of the replay."""
    question = orjson.dumps(build_input(asked[0]))
    made = record(asked[0], stock.evaluate(question).output)

    recorded = replayed(Replayer(stock), made)
    compared = replayed(Replayer(stock, against=stock), made)

    for tally in (recorded.tally, compared.tally):
        assert (tally.decisions, tally.changed, dict(tally.lost)) == (1, 0, {})


def test_a_policy_that_misbehaves_has_refused_and_the_next_is_asked_well(tmp_path: Path) -> None:
    """It runs on, fills the memory, traps, or says what is no decision: an outcome each."""
    candidate = build(tmp_path / "policies", MISBEHAVES % orjson.dumps(allowance()).decode())
    names = ("spins", "fills", "traps", "babbles", "floods", "undefined")
    records = [record(of_client(name)) for name in names for name in (name, "svc-a")]
    try:
        replayer = replayed(Replayer(candidate), *records)
    finally:
        candidate.close()

    groups = replayer.tally.groups
    assert {group.kind for group in groups} == {Kind.FAILED}
    assert {group.client: group.what.partition(":")[0] for group in groups} == {
        "spins": "the policy failed",
        "fills": "the policy failed",
        "traps": "the policy failed",
        "babbles": "policy.malformed; had orders.read",
        "floods": "policy.malformed; had orders.read",
        "undefined": "policy.undefined; had orders.read",
    }
    assert (replayer.tally.decisions, replayer.tally.changed) == (12, 6)
    assert not replayer.exhausted


def test_a_policy_that_keeps_failing_is_given_up(tmp_path: Path) -> None:
    """Each failure may cost the deadline, and a trail is long."""
    candidate = build(tmp_path / "policies", "decision := 1\n\ndecision := 2 if input.client.id")
    try:
        replayer = replayed(Replayer(candidate), *[record()] * (MOST_FAILURES + 10))
    finally:
        candidate.close()

    assert replayer.exhausted
    assert replayer.tally.decisions == MOST_FAILURES


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        pytest.param(allowance(), allowance(), [], id="the-same"),
        pytest.param(allowance(), refusal(), [Kind.REFUSED], id="refused"),
        pytest.param(refusal(), allowance(), [Kind.PERMITTED], id="permitted"),
        pytest.param(allowance(lifetime=300), allowance(), [Kind.SHORTER_LIFE], id="shorter"),
        pytest.param(allowance(), allowance(scopes=["billing"]), [Kind.FAILED], id="beyond-floor"),
        # To Python these are equal to what is a decision.
        pytest.param(allowance(lifetime=120.0), allowance(), [Kind.PERMITTED], id="a-float"),
        pytest.param(
            allowance(lifetime=True), allowance(lifetime=1), [Kind.PERMITTED], id="a-truth"
        ),
    ],
)
def test_what_was_decided_then_is_what_is_compared_with(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], kinds: list[Kind]
) -> None:
    """As it is on record, judged by the same floor."""
    candidate = build(tmp_path / "policies", always(after))
    try:
        replayer = replayed(Replayer(candidate), record(output=before))
    finally:
        candidate.close()

    assert [group.kind for group in replayer.tally.groups] == kinds


def test_against_another_policy_what_is_on_record_does_not_count(tmp_path: Path) -> None:
    """So nobody needs to trust it."""
    before = build(tmp_path / "before", always(allowance()))
    after = build(tmp_path / "after", always(allowance(lifetime=60)))
    try:
        replayer = replayed(Replayer(after, against=before), record(output=refusal()))
    finally:
        before.close()
        after.close()

    assert [group.kind for group in replayer.tally.groups] == [Kind.SHORTER_LIFE]


@pytest.mark.parametrize(
    ("harmless", "kept"), [pytest.param({"tenant"}, 2, id="kept"), pytest.param(set(), 1, id="not")]
)
def test_what_is_decided_by_a_person_is_not_taken_along(
    tmp_path: Path, harmless: set[str], kept: int
) -> None:
    """Replayed without her it would say something else; a claim that may stay stays."""
    yes, no = orjson.dumps(allowance()).decode(), orjson.dumps(refusal()).decode()
    rule = f"""default decision := {no}

decision := {yes} if input.subject.claims.tenant == "north"

decision := {yes} if input.subject.subject == "eve"
"""
    tokens = [
        builders.verified_token(policy_claims={"tenant": "north"}),
        builders.verified_token(policy_claims={"tenant": "south"}),
        builders.verified_token(principal=Principal(builders.IDP, "eve")),
    ]
    candidate = build(tmp_path / "policies", rule)
    lines: list[bytes] = []
    keep = Keep(Disguise(b"secret", harmless=frozenset(harmless)), lines.append)
    try:
        records = [record(builders.exchange(subject=token)) for token in tokens]
        replayer = replayed(Replayer(candidate, keep=keep), *records)
        again = replayed(Replayer(candidate), *map(orjson.loads, lines))
    finally:
        candidate.close()

    assert (replayer.kept, len(lines)) == (kept, kept)
    assert again.tally.changed == 1  # the one of the south, as in the first


def test_an_input_with_members_of_other_types_is_counted_and_no_decision(tmp_path: Path) -> None:
    """Whoever writes into the table by hand does not end a replay."""
    candidate = build(tmp_path / "policies", always(refusal()))
    odd = record()
    odd["personal"]["policy_input"]["delegation"]["depth"] = "one"
    try:
        replayer = replayed(Replayer(candidate), odd, record())
    finally:
        candidate.close()

    assert (replayer.tally.decisions, dict(replayer.tally.lost)) == (1, {Cause.MALFORMED: 1})


def test_the_collector_is_as_it_was_afterwards() -> None:
    """Also where a replay fails."""
    before = (gc.get_threshold(), gc.get_freeze_count())
    with pytest.raises(RuntimeError), undisturbed():
        raise RuntimeError

    assert (gc.get_threshold(), gc.get_freeze_count()) == before
