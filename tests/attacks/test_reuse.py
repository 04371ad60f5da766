"""Attack: be given a token that was made for another request, or that is no longer to be had."""

import asyncio

import pytest

from tests.jwts import ONCE, actor_jwt, subject_jwt, unverified_claims
from tests.server import BrokerClient
from tests.wire import ACCESS_TOKEN, JWT, assert_issued, assert_refused, basic, exchange_form

pytestmark = pytest.mark.row("ATK-RPL-03", "INV-8")

REUSE = "svc-reuse"


async def ask(broker: BrokerClient, token: str, using: str = REUSE, **overrides) -> str:
    """Exchange it, and return what came of it."""
    form = exchange_form(subject_token=token, **overrides)
    return assert_issued(await broker.exchange(form, auth=basic(using)))["access_token"]


def subject(**claims) -> str:
    """A token for whoever is asked about here."""
    return subject_jwt(
        **{"aud": [REUSE, "svc-a", "svc-b"], "scope": "orders.read orders.write"} | claims
    )


async def actions(broker: BrokerClient) -> list[str | None]:
    """Whether each token was new, or of before."""
    return [row["action"] for row in await broker.rows()]


async def test_the_honest_twin_is_given_the_same_token_again(broker):
    """Without it the tests below would pass where nothing is ever reused."""
    token = subject()
    first, second = await ask(broker, token), await ask(broker, token)
    one, other = await broker.records()

    assert first == second
    assert [None, "reuse"] == await actions(broker)
    assert one["id"] == one["jti"] == other["jti"] != other["id"]
    assert one["request_id"] != other["request_id"]
    told = ("client", "token_sha256", "txn", "kid", "expires_at", "issued_at", "scopes", "parent")
    assert [one[name] for name in told] == [other[name] for name in told]


async def test_another_client_gets_a_token_of_its_own(broker):
    """The same body: who asks is in the token, and in what it is kept under."""
    token = subject()
    first = await ask(broker, token)
    others = [await ask(broker, token, "svc-a"), await ask(broker, token, "svc-b")]

    assert 3 == len({first, *others})
    assert [REUSE, "svc-a", "svc-b"] == [
        unverified_claims(one)["client_id"] for one in (first, *others)
    ]


async def test_wrong_credentials_get_nothing(broker):
    """Whoever has seen the whole request go by does not have the secret."""
    token = subject()
    await ask(broker, token)
    form = exchange_form(subject_token=token)

    assert_refused(await broker.exchange(form, auth=(REUSE, "wrong")), "invalid_client", 401)
    assert_refused(await broker.exchange(form, auth=None), "invalid_client", 401)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"scope": "orders.write"}, id="another-scope"),
        pytest.param({"scope": "orders.read orders.write"}, id="one-more-scope"),
        pytest.param({"scope": "orders.read", "audience": "svc-c"}, id="another-target"),
        pytest.param({"audience": ["svc-b", "svc-b"]}, id="target-repeated"),
        pytest.param({"requested_token_type": JWT}, id="another-type-asked-for"),
        pytest.param({"subject_token_type": ACCESS_TOKEN}, id="declared-otherwise"),
        pytest.param({"purpose": "billing"}, id="a-purpose"),
    ],
)
async def test_another_parameter_makes_another_token(broker, other):
    """Whatever differs in the request, also what makes no difference to the token."""
    token = subject(typ="at+jwt") if "subject_token_type" in other else subject()
    first = await ask(broker, token)

    assert first != await ask(broker, token, **other)
    assert [None, None] == await actions(broker)


async def test_scopes_in_another_order_are_another_request(broker):
    """One token more, rather than a way to take one request for another."""
    token = subject()
    given = [await ask(broker, token, scope=scope) for scope in ("orders.read orders.write",) * 2]
    turned = await ask(broker, token, scope="orders.write orders.read")

    assert given[0] == given[1] != turned
    assert unverified_claims(turned)["scope"] == unverified_claims(given[0])["scope"]


async def test_parameters_do_not_run_into_one_another(broker):
    """What is the end of one and what the beginning of the next is not a matter of their text."""
    token = subject()
    first = await ask(broker, token, scope="orders.read", purpose="orders.write")
    second = await ask(broker, token, scope="orders.read orders.write", purpose=None)

    assert first != second


async def test_another_token_of_the_same_subject_makes_another_token(broker):
    """Also where everything that it says is the same but its ``jti``."""
    given = {await ask(broker, subject()) for _ in range(2)}

    assert 2 == len(given)


async def test_a_token_for_one_use_is_refused_the_second_time(broker):
    """RFC 9700 §4: reuse is no way around the claim of its ``jti``."""
    token = subject(iss=ONCE)
    await ask(broker, token)
    again = await broker.exchange(exchange_form(subject_token=token), auth=basic(REUSE))

    assert_refused(again, "invalid_request")
    assert ["issued", "subject_token.replayed"] == await broker.audited()


async def test_a_race_for_a_token_of_one_use_has_one_winner(broker):
    """Those who wait for the first one are not given what it got."""
    form = exchange_form(subject_token=subject(iss=ONCE))
    answers = await asyncio.gather(*(broker.exchange(form, auth=basic(REUSE)) for _ in range(10)))

    assert [200] + [400] * 9 == sorted(answer.status_code for answer in answers)


async def test_who_acts_is_part_of_the_request(broker):
    """With an actor token, with another one, and without: three tokens."""
    token = subject()

    def acting(**claims) -> dict:
        return {"actor_token": actor_jwt(**claims), "actor_token_type": JWT}

    one, other = acting(sub=REUSE, azp=REUSE), acting(sub=REUSE, azp=REUSE)
    first = await ask(broker, token, **one)
    given = [first, await ask(broker, token, **other), await ask(broker, token)]

    assert first == await ask(broker, token, **one)
    assert 3 == len(set(given))


async def test_a_reference_token_is_given_again_and_stands_for_the_same(broker):
    """What it stands for was stored with its first row, under its hash; it lives no longer."""
    token = subject()
    first, second = [await ask(broker, token, audience="svc-ref") for _ in range(2)]
    body = (await broker.introspect(second, auth=basic("svc-ref"))).json()
    records = await broker.records()

    assert first == second
    assert True is body["active"]
    assert body["jti"] == records[0]["id"] == records[1]["jti"]


async def test_many_at_once_mint_once(broker):
    """Single flight: one new token, and for everybody else a row that says which one it was."""
    form = exchange_form(subject_token=subject())
    answers = await asyncio.gather(*(broker.exchange(form, auth=basic(REUSE)) for _ in range(20)))
    records = await broker.records()

    assert 1 == len({assert_issued(answer)["access_token"] for answer in answers})
    minted = [record["id"] for record in records if "action" not in record]
    assert 1 == len(minted)
    assert [*minted] * 20 == [record["jti"] for record in records]
    assert 20 == len({record["id"] for record in records})


async def test_a_token_that_was_given_back_is_not_given_out_again(broker):
    """RFC 7009: revocation stops it at once; the next request gets a new one that is good."""
    token = subject()
    first = await ask(broker, token)
    assert 200 == (await broker.revoke(first, auth=basic(REUSE))).status_code
    second = await ask(broker, token)

    assert first != second
    active = [(await broker.introspect(one)).json()["active"] for one in (first, second)]
    assert [False, True] == active
    assert [None, None] == await actions(broker)


async def test_expires_in_is_what_is_left(broker):
    """The same answer, but for the time."""
    token = subject()
    form = exchange_form(subject_token=token)
    first = assert_issued(await broker.exchange(form, auth=basic(REUSE)))
    await asyncio.sleep(1.1)
    second = assert_issued(await broker.exchange(form, auth=basic(REUSE)))

    assert first["access_token"] == second["access_token"]
    assert 1 <= first["expires_in"] - second["expires_in"] <= 3
    assert {**first, "expires_in": 0} == {**second, "expires_in": 0}


async def test_hits_and_misses_are_counted(broker):
    """So that an operator sees whether it is worth anything."""

    async def counted() -> list[float]:
        lines = (await broker.admin("/metrics")).text.splitlines()
        named = [f'broker_exchange_reuses_total{{outcome="{name}"}} ' for name in ("hit", "miss")]
        return [
            sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
            for name in named
        ]

    before, token = await counted(), subject()
    for _ in range(3):
        await ask(broker, token)

    assert [2, 1] == [now - then for now, then in zip(await counted(), before, strict=True)]
