"""A token that is given out once more: when, and above all when not."""

import asyncio
from datetime import timedelta

import pytest

from broker.blocklist.rule import Scope
from broker.blocklist.snapshot import Snapshot
from broker.cache import OVERHEAD
from broker.domain import IssuedToken, Obligation, ReusedToken, SignedToken
from broker.errors import CommitRejected, Reason, Rejected
from broker.exchange.response import build_response
from broker.exchange.reuse import KeptToken, TokenReuse, derive_key, is_reusable
from broker.oauth import TokenType
from tests import builders, decisions
from tests.builders import NOW, revocation
from tests.jwts import ONCE
from tests.reusing import Policy, Process, subject

pytestmark = pytest.mark.row("ATK-RPL-03")


def is_new(issued: IssuedToken) -> bool:
    return isinstance(issued.signed, SignedToken)


@pytest.fixture
def process() -> Process:
    """One whose policy lets tokens of two minutes be given out again for one."""
    return Process()


async def test_the_same_request_gets_the_same_token(process):
    """And each its own row, which says which token it was."""
    token = subject()
    first, second = await process.ask(token), await process.ask(token)
    one, other = process.rows.records

    assert is_new(first)
    assert isinstance(second.signed, ReusedToken)
    assert first.signed.token == second.signed.token
    assert first.signed.id == one["id"] == one["jti"] == other["jti"]
    assert second.signed.id == other["id"] != one["id"]
    assert other["action"] == "reuse"
    assert "action" not in one


async def test_without_the_policy_s_word_there_is_none():
    """The default."""
    process, token = Process(Policy(reuse=0)), subject()

    assert all([is_new(await process.ask(token)) for _ in range(2)])


async def test_the_answer_says_what_is_left(process):
    """Never more than is true."""
    token = subject()
    await process.ask(token)
    for seconds in (0.4, 19.2, 40):
        process.wait(seconds)
        issued = await process.ask(token)
        answer = build_response(issued, issued_token_type=TokenType.ACCESS_TOKEN, now=process.now)

        left = issued.signed.expires_at - process.now
        assert left - timedelta(seconds=1) < timedelta(seconds=answer["expires_in"]) <= left
        assert not is_new(issued)


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        pytest.param(Policy(lifetime=120, reuse=30), 30, id="as-the-grant-says"),
        pytest.param(Policy(lifetime=40, reuse=40), 30, id="ten-seconds-are-left"),
        pytest.param(Policy(lifetime=300, reuse=300), 270, id="a-tenth-is-left"),
        pytest.param(Policy(lifetime=9, reuse=9), 0, id="lives-for-less-than-ten-seconds"),
    ],
)
async def test_after_its_time_a_new_one_is_minted(policy, seconds):
    """The decision's seconds, or the margin of life, whichever comes first."""
    outcomes = []
    for waited in (seconds - 0.5, seconds + 0.5):
        process, token = Process(policy), subject()
        await process.ask(token)
        process.wait(waited)
        outcomes.append(is_new(await process.ask(token)))

    assert [seconds == 0, True] == outcomes


async def test_a_clock_that_was_set_back_makes_a_new_one(process):
    """A token of the future is none, and one that would outlive a new one is too long."""
    token = subject(iat=int(NOW.timestamp()) - 100)
    process.wait(30)
    first = await process.ask(token)
    process.wait(-20)
    second = await process.ask(token)

    assert is_new(second)
    assert second.signed.expires_at < first.signed.expires_at


@pytest.mark.parametrize(
    ("lives", "serves"),
    [pytest.param(59, False, id="ends-before-it"), pytest.param(60, True, id="ends-with-it")],
)
def test_a_token_that_outlives_a_new_one_is_not_given_out(lives, serves):
    """As where an issuer that is asked says another end of the subject token than before."""
    kept = KeptToken("jti", "a.b.c", "txn", "kid", NOW, NOW, NOW + timedelta(seconds=60))
    token = builders.verified_token(expires_at=NOW + timedelta(seconds=lives))
    permit = decisions.permit(builders.exchange(subject=token), reuse=30)

    assert serves is kept.serves(permit, NOW)


async def test_a_token_outlives_neither_of_those_it_was_made_of(process):
    """The subject token is refused at its end, whatever is kept."""
    token = subject(exp=int(NOW.timestamp()) + 50)
    first = await process.ask(token)
    process.wait(35)
    second = await process.ask(token)
    process.wait(16)
    with pytest.raises(Rejected) as rejected:
        await process.ask(token)

    assert not is_new(second)
    assert first.signed.expires_at == second.signed.expires_at == NOW + timedelta(seconds=50)
    assert Reason.SUBJECT_TOKEN_EXPIRED is rejected.value.reason


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(revocation(Scope.JTI, issuer=builders.BROKER, key="another"), id="a-token"),
        pytest.param(revocation(Scope.SUBJECT, issuer=builders.IDP, key="bob"), id="a-subject"),
        pytest.param(revocation(Scope.CLIENT, key="svc-x"), id="a-client"),
    ],
)
async def test_any_revocation_ends_all_of_it(process, rule):
    """Whatever it is of: what was minted before it is not given out after it."""
    token = subject()
    await process.ask(token)
    process.revoked.snapshot = process.revoked.snapshot.extend([rule])

    assert is_new(await process.ask(token))
    assert not is_new(await process.ask(token))


async def test_what_is_dead_from_the_start_is_not_kept(process):
    """Of the second of a revocation all tokens are; the next request gets one that lives."""
    token = subject()
    process.wait(0.5)
    rule = revocation(Scope.CLIENT, key="svc-a", not_before=process.now)
    process.revoked.snapshot = Snapshot.build([rule])
    process.wait(0.1)
    await process.ask(token)
    process.wait(0.5)

    assert is_new(await process.ask(token))
    assert not is_new(await process.ask(token))


async def test_a_revocation_amid_a_request_keeps_its_token_from_being_kept(process):
    """It was checked before, and minted after: nobody gets it again."""
    token, process.rows.gate = subject(), asyncio.Event()
    first = asyncio.create_task(process.ask(token))
    await asyncio.sleep(0.01)
    process.revoked.snapshot = Snapshot.build([revocation(Scope.CLIENT, key="svc-x")])
    process.rows.gate.set()
    await first

    assert is_new(await process.ask(token))


async def test_a_process_that_knows_nothing_of_revocations_gives_nothing(process):
    """Stale is stale, also for what is kept."""
    token = subject()
    await process.ask(token)
    process.revoked.stale = True
    with pytest.raises(Rejected) as rejected:
        await process.ask(token)

    assert Reason.REVOCATION_UNAVAILABLE is rejected.value.reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"revision": "r2"}, id="revision"),
        pytest.param({"scopes": ("orders.read",), "allow": True}, id="scopes"),
        pytest.param({"lifetime": 100}, id="lifetime"),
        pytest.param({"mode": "impersonation"}, id="mode"),
        pytest.param({"reuse": 50}, id="reuse"),
    ],
)
async def test_another_decision_makes_another_token(process, change):
    """Also where it is the same policy, and only decides otherwise now."""
    token = subject()
    await process.ask(token, scope="orders.read orders.write")
    for name, value in change.items():
        setattr(process.policy, name, value)

    assert is_new(await process.ask(token, scope="orders.read orders.write"))


async def test_a_refusal_is_one_whatever_is_kept(process):
    """The policy is asked each time."""
    token = subject()
    await process.ask(token)
    process.policy.allow = False
    with pytest.raises(Rejected) as rejected:
        await process.ask(token)

    assert Reason.POLICY_DENIED is rejected.value.reason


async def test_another_key_makes_another_token(process):
    """After a rotation, whatever it was for, nothing of the key before is given out."""
    token = subject()
    await process.ask(token)
    process.keys.rotate()

    assert is_new(await process.ask(token))
    assert not is_new(await process.ask(token))


async def test_a_reload_begins_with_nothing(process):
    """Another configuration may trust or map otherwise."""
    token = subject()
    await process.ask(token)
    process.reload()

    assert is_new(await process.ask(token))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"using": "svc-b"}, id="client"),
        pytest.param({"scope": "orders.write"}, id="scope"),
        pytest.param({"scope": "orders.read orders.read"}, id="scope-twice"),
        pytest.param({"scope": None}, id="no-scope"),
        pytest.param({"audiences": ("svc-c",)}, id="audience"),
        pytest.param({"audiences": ("svc-b", "svc-b")}, id="audience-twice"),
        pytest.param({"purpose": "billing"}, id="purpose"),
        pytest.param({"requested_token_type": TokenType.JWT}, id="requested-type"),
    ],
)
async def test_another_request_gets_another_token(process, other):
    """Each part of it is in the key."""
    token = subject()
    first = await process.ask(token)
    second = await process.ask(token, **other)

    assert is_new(second)
    assert first.signed.token != second.signed.token


async def test_what_was_made_of_a_token_for_one_use_is_not_kept(process):
    """And the second time it is refused as it would be anywhere."""
    token = subject(iss=ONCE)
    await process.ask(token)
    with pytest.raises(CommitRejected) as rejected:
        await process.ask(token)

    assert Reason.SUBJECT_TOKEN_REPLAYED is rejected.value.reason


@pytest.mark.parametrize(
    ("permit", "claims", "reusable"),
    [
        pytest.param(decisions.permit(reuse=30), {}, True, id="as-the-decision-says"),
        pytest.param(decisions.permit(), {}, False, id="no-reuse"),
        pytest.param(decisions.permit(reuse=30), {"cnf": {"jkt": "x"}}, False, id="key-bound"),
        pytest.param(
            decisions.permit(
                builders.exchange(subject=builders.verified_token(one_time=True)), reuse=30
            ),
            {},
            False,
            id="subject-token-for-one-use",
        ),
        pytest.param(
            decisions.permit(
                builders.exchange(actor=builders.verified_token(one_time=True)), reuse=30
            ),
            {},
            False,
            id="actor-token-for-one-use",
        ),
    ],
)
def test_which_tokens_may_be_given_out_again(permit, claims, reusable):
    """Whatever the policy says."""
    assert reusable is is_reusable(permit, claims)


async def test_a_token_without_its_row_is_not_given_out_again(process):
    """Invariant 8: neither the first time nor the second."""
    token = subject()
    process.rows.away = True
    with pytest.raises(CommitRejected):
        await process.ask(token)
    process.rows.away = False
    assert is_new(await process.ask(token))

    process.rows.away = True
    with pytest.raises(CommitRejected) as rejected:
        await process.ask(token)
    assert Reason.AUDIT_UNAVAILABLE is rejected.value.reason


async def test_many_at_once_mint_once(process):
    """And nobody has it before the first row is there."""
    token, process.rows.gate = subject(), asyncio.Event()
    tasks = [asyncio.create_task(process.ask(token)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert not process.rows.records
    process.rows.gate.set()
    issued = await asyncio.gather(*tasks)

    assert 1 == sum(map(is_new, issued))
    assert 1 == len({one.signed.token for one in issued})
    assert 50 == len(process.rows.records)
    assert 50 == len({record["id"] for record in process.rows.records})


async def test_who_waits_for_one_that_fails_mints_alone(process):
    """And does not wait again, however many there are."""
    token, process.rows.gate = subject(), asyncio.Event()
    tasks = [asyncio.create_task(process.ask(token)) for _ in range(20)]
    await asyncio.sleep(0.01)
    process.rows.away = True
    process.rows.gate.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)

    assert {Reason.AUDIT_UNAVAILABLE} == {one.reason for one in failed}
    process.rows.away = False
    assert is_new(await process.ask(token))


async def test_who_gives_up_takes_nobody_along(process):
    """The one that mints may be cancelled, and so may any that waits."""
    token, process.rows.gate = subject(), asyncio.Event()
    tasks = [asyncio.create_task(process.ask(token)) for _ in range(5)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    tasks[3].cancel()
    await asyncio.sleep(0.01)
    process.rows.gate.set()
    issued = await asyncio.gather(*(tasks[number] for number in (1, 2, 4)))

    assert all(one.signed.token for one in issued)
    assert await process.ask(token)


async def test_what_is_kept_is_bounded():
    """The least recently used goes first, and is minted anew."""
    process = Process(max_bytes=3 * (OVERHEAD + 1400))
    tokens = [subject(sub=f"user-{number}") for number in range(5)]
    for token in tokens:
        await process.ask(token)

    assert not is_new(await process.ask(tokens[-1]))
    assert is_new(await process.ask(tokens[0]))


async def test_nothing_shows_a_token(process):
    """Neither what is kept nor what is given again, nor what keeps them."""
    token = subject()
    await process.ask(token)
    again = await process.ask(token)
    assert isinstance(again.signed, ReusedToken)
    kept = KeptToken("jti", again.signed.token, "txn", "kid", NOW, NOW, NOW)
    shown = f"{again!r} {kept!r} {process.exchange.reuse!r}"

    assert again.signed.token not in shown
    assert "eyJ" not in shown


def test_the_key_is_keyed():
    """Whoever sees it cannot try what is behind it."""
    permit = decisions.permit(reuse=30)

    assert derive_key(b"a" * 32, permit, {}) != derive_key(b"b" * 32, permit, {})
    assert derive_key(b"a" * 32, permit, {}) == derive_key(b"a" * 32, permit, {})
    assert 32 == len(derive_key(b"a" * 32, permit, {}))


def test_each_configuration_has_a_secret_of_its_own(process):
    """Not even within one process do keys mean anything elsewhere."""
    before = process.exchange.reuse
    process.reload()

    assert isinstance(before, TokenReuse)
    assert before._secret != process.exchange.reuse._secret


@pytest.mark.parametrize("name", ["alert"])
async def test_what_obliges_to_something_is_not_kept(name):
    """Whoever is to be told of each token is told of each."""
    permit = decisions.permit(obligations=[name])

    assert Obligation.ALERT in permit.obligations
    assert not is_reusable(permit, {})
