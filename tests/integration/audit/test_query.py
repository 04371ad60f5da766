"""Promises 2.5: who got what, on whose behalf, and why."""

import asyncio
from datetime import timedelta

import pytest

from broker.audit.outcome import build_issued, build_refused
from broker.audit.query import CannotRead, Filter, build_query, find_rows
from broker.db.engine import Database
from broker.domain import Principal
from broker.errors import Reason
from tests import builders
from tests.audit import attempt, event, new_id, now, running, signed_token
from tests.fixtures.postgres import one_more

ISSUER = "https://broker.test"
OLD = timedelta(hours=2)


@pytest.fixture(scope="module")
def written(postgres, template):
    """A trail of three exchanges and an administrative act, by the names of their ids."""
    with one_more(postgres, template.name) as made:
        yield made, asyncio.run(write(made))


async def write(made) -> dict[str, str]:
    chain = (Principal(ISSUER, "svc-a"), Principal(builders.OTHER_IDP, "batch"))
    mallory = builders.verified_token(principal=Principal(builders.OTHER_IDP, "alice"), jti="s-2")
    plain = attempt(id="req-1")
    chained = attempt(
        id="req-2",
        exchange=builders.exchange(subject=mallory, delegation=builders.delegation(chain=chain)),
    )
    old = attempt(id="req-3", at=now() - OLD, client=builders.client("svc-old"))
    first, second = signed_token(plain), signed_token(chained, txn="txn-2")
    refused = build_refused(old, Reason.POLICY_SCOPE_NOT_HELD, id=new_id(), issuer=ISSUER)
    act = event("keys.rotate")
    database = Database(made.app_url)
    async with running(database) as writer:
        for one in (
            build_issued(plain, first, issuer=ISSUER),
            build_issued(chained, second, issuer=ISSUER),
            refused,
            act,
        ):
            await writer.append(one)
    await database.aclose()
    return {first.id: "plain", second.id: "chained", refused.id: "old", act.id: "act"}


async def found(written, wanted, **options):
    """The names of what is found, in its order; the writer's own rows are left out."""
    made, names = written
    database = Database(made.auditor_url, timeout=None)
    rows = [row async for row in find_rows(database, wanted, **options)]
    await database.aclose()
    return [names[str(row["id"])] for row in rows if str(row["id"]) in names]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        pytest.param(Filter(), ["act", "chained", "plain", "old"], id="everything"),
        pytest.param(Filter(kind="exchange"), ["chained", "plain", "old"], id="kind"),
        pytest.param(Filter(client="svc-old"), ["old"], id="client"),
        pytest.param(Filter(client="svc"), [], id="no-part-of-a-client"),
        pytest.param(Filter(subject="alice"), ["chained", "plain", "old"], id="subject"),
        pytest.param(
            Filter(subject="alice", subject_issuer=builders.OTHER_IDP), ["chained"], id="whose"
        ),
        pytest.param(Filter(actor="batch"), ["chained"], id="actor-anywhere-in-the-chain"),
        pytest.param(
            Filter(actor="batch", actor_issuer=builders.OTHER_IDP), ["chained"], id="actor-pair"
        ),
        pytest.param(
            Filter(actor="svc-a", actor_issuer=builders.OTHER_IDP), [], id="never-a-mixed-pair"
        ),
        pytest.param(Filter(target="svc-b"), ["chained", "plain", "old"], id="target"),
        pytest.param(Filter(target="svc-c"), [], id="another-target"),
        pytest.param(Filter(outcome="refused"), ["old"], id="outcome"),
        pytest.param(Filter(reason="policy.scope_not_held"), ["old"], id="reason"),
        pytest.param(Filter(txn="txn-2"), ["chained"], id="txn"),
        pytest.param(Filter(parent="s-2"), ["chained"], id="parent"),
        pytest.param(Filter(request_id="req-1"), ["plain"], id="request-id"),
        pytest.param(Filter(action="keys.rotate"), ["act"], id="action"),
        pytest.param(
            Filter(client="svc-a", outcome="issued", txn="txn-2"), ["chained"], id="all-at-once"
        ),
        pytest.param(Filter(subject="' OR true --"), [], id="sql"),
        pytest.param(Filter(target='"},{"'), [], id="array-breaker"),
    ],
)
async def test_what_is_named_must_be_as_it_says(written, wanted, names):
    """GHSA-r9w3-57w2-gch2: exactly, and as a value; newest first."""
    assert names == await found(written, wanted)


async def test_a_request_is_found_by_the_id_that_it_was_answered(postgres, template):
    """Which says when it was made, so that rows of other days are not read; never of another."""
    with one_more(postgres, template.name) as made:
        database = Database(made.app_url)
        one, other = attempt(id=new_id()), attempt(id=new_id())
        async with running(database) as writer:
            for each in (one, other):
                await writer.append(build_issued(each, signed_token(each), issuer=ISSUER))
        rows = [row async for row in find_rows(database, Filter(request_id=one.id))]
        await database.aclose()

    assert [one.id] == [row["request_id"] for row in rows]


@pytest.mark.row("GHSA-r9w3-57w2-gch2")
def test_no_value_is_part_of_the_statement():
    """GHSA-r9w3-57w2-gch2: whatever is asked, the text of the query is the same."""
    canary = "canary'--"
    fields = {
        name: canary
        for name in Filter.__dataclass_fields__
        if name not in {"since", "until", "jti"}
    }

    assert canary not in str(build_query(Filter(**fields, jti=new_id())))


async def test_a_token_is_found_by_its_jti(written):
    """Promises 2.5: the row's id is the token's."""
    _, names = written
    jti = next(key for key, name in names.items() if name == "plain")

    assert ["plain"] == await found(written, Filter(jti=jti))


async def test_times_bound_what_is_found(written):
    """Ours: from ``since``, and before ``until``."""
    middle = now() - OLD / 2

    assert ["old"] == await found(written, Filter(until=middle))
    assert ["act", "chained", "plain"] == await found(written, Filter(since=middle))


async def test_a_limit_keeps_the_newest(written):
    """Ours: the rest is asked for by narrowing down."""
    assert ["chained"] == await found(written, Filter(kind="exchange"), limit=1)


async def test_a_database_that_is_not_there_is_told_without_its_address():
    """Ours: no password in what is printed."""
    database = Database("postgresql://broker:secret@127.0.0.1:1/broker", timeout=None)
    with pytest.raises(CannotRead) as caught:
        _ = [row async for row in find_rows(database, Filter())]
    await database.aclose()

    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("PostgreSQL cannot be asked")
