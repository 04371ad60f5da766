"""The token proxy over a real trail and policy: what is fetched, kept, renewed and recorded."""

import asyncio
import gc
import json
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from broker.cache import OVERHEAD
from broker.domain import Evaluation
from broker.errors import Reason
from broker.issuers.fetch import MAX_REPLY
from broker.policy.engine import PolicyUnavailable
from broker.proxy.upstream import LEARNT_FOR
from tests.fixtures.postgres import execute
from tests.heap import find_text
from tests.integration.audit.test_commit import records
from tests.loopback import drip, http_answer, json_answer, loopback
from tests.proxy_on import OpenProxy, proxy_on
from tests.proxying import SECRET, grant, provider, token
from tests.server import eventually


@pytest.fixture
async def proxy(fresh, engine, idp) -> AsyncIterator[OpenProxy]:
    """The proxy before it."""
    async with proxy_on(fresh.app_url, engine, idp) as opened:
        yield opened


async def test_a_token_is_fetched_once_and_says_what_is_left_of_it(proxy, idp):
    """The remaining life, not the whole one; and for each combination its own token."""
    first = await proxy.token(grant(scope="b a"))
    proxy.clocks.forward(600)
    again = await proxy.token(grant(scope="a b"))
    other = await proxy.token(grant(scope="a"))

    assert (3600, 3000, 3600) == tuple(each["expires_in"] for each in (first, again, other))
    assert first["access_token"] == again["access_token"] != other["access_token"]
    assert Counter({"a b": 1, "a": 1}) == idp.scopes()


async def test_a_wrong_secret_is_told_so_by_the_upstream(proxy, idp, fresh):
    """No caller gets a token it could not have had: nothing of what is kept is found."""
    await proxy.token()
    refused = await proxy.ask(secret="wrong")
    body = json.loads(refused.body)

    assert (401, "invalid_client", "t-1") == (refused.status, body["error"], body["trace_id"])
    assert ((b"www-authenticate", b'Basic realm="idp"'),) == refused.headers
    assert 2 == idp.calls
    issued, row = records(fresh, "proxy")
    assert ("issued", "refused") == (issued["outcome"], row["outcome"])
    assert ["proxy.refused_upstream"] == row["reasons"]


async def test_five_thousand_who_want_twenty_tokens_cause_twenty_calls(proxy, idp):
    """A cold start: single flight over all who wait."""
    idp.pause = 0.5
    asked = [proxy.token(grant(scope=f"s{number % 20}")) for number in range(5000)]
    answers = await asyncio.gather(*asked)

    assert Counter({f"s{n}": 1 for n in range(20)}) == idp.scopes()
    assert Counter({f"s{n}": 250 for n in range(20)}) == Counter(a["scope"] for a in answers)
    assert 20 == len({answer["access_token"] for answer in answers})


async def test_whoever_gives_up_first_leaves_the_others_their_token(proxy, idp):
    """A cancelled leader does not fail the waiters."""
    idp.pause = 0.2
    first, *others = [asyncio.create_task(proxy.token()) for _ in range(10)]

    async def asked() -> bool:
        return idp.calls == 1

    await eventually(asked)
    first.cancel()

    assert 1 == len({answer["access_token"] for answer in await asyncio.gather(*others)})
    assert (True, 1) == (first.cancelled(), idp.calls)


async def test_within_the_margin_the_token_is_served_while_it_is_renewed(proxy, idp):
    """With the credentials of the very request that found it old; once, whoever asks."""
    first = await proxy.token()
    proxy.clocks.forward(3300)
    idp.pause = 0.2
    served = [await proxy.token() for _ in range(20)]
    await proxy.settled()
    renewed = await proxy.token()

    assert {(first["access_token"], 300)} == {(s["access_token"], s["expires_in"]) for s in served}
    assert (2, 3600) == (idp.calls, renewed["expires_in"])
    assert first["access_token"] != renewed["access_token"]


async def test_a_token_is_served_up_to_its_end_and_not_after_it(proxy, idp):
    """Whatever the upstream does meanwhile: it is down."""
    await proxy.token()
    idp.answer = http_answer(b"", status="503 Service Unavailable", content_type=None)
    for left in (300, 100, 1):
        proxy.clocks.forward(3600 - left - (proxy.clocks.monotonic - 1000))
        assert left == (await proxy.token())["expires_in"]
        await proxy.settled()
    proxy.clocks.forward(1)

    assert Reason.PROXY_UPSTREAM_UNAVAILABLE == await proxy.ask()
    assert 0 == len(proxy.memory.tokens)


async def test_a_renewal_that_fails_waits_for_a_second(proxy, idp):
    """An upstream in trouble is not asked at each of a thousand requests."""
    await proxy.token()
    idp.answer = http_answer(b"", status="500 Internal Server Error", content_type=None)
    proxy.clocks.forward(3300)
    for _ in range(10):
        await proxy.token()
        await proxy.settled()
    proxy.clocks.forward(1.1)
    await proxy.token()
    await proxy.settled()

    assert 3 == idp.calls


async def test_a_secret_that_is_good_no_longer_ends_what_it_had(proxy, idp):
    """The upstream refuses a renewal: the old token is served no longer either."""
    await proxy.token()
    idp.secrets = frozenset()
    proxy.clocks.forward(3300)
    await proxy.token()
    await proxy.settled()

    assert 401 == (await proxy.ask()).status
    assert 0 == len(proxy.memory.tokens)


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        pytest.param(3601, 2, id="forward-beyond-its-end"),
        pytest.param(-3600, 1, id="backward"),
        pytest.param(-(10**9), 1, id="to-the-last-century"),
    ],
)
async def test_a_step_of_the_clock_never_lengthens_a_life(proxy, idp, step, calls):
    """Forward, a token ends early; backward, nothing changes."""
    await proxy.token()
    proxy.clocks.wall += step
    answer = await proxy.token()

    assert (calls, 3600) == (idp.calls, answer["expires_in"])


async def test_a_machine_that_slept_serves_nothing_from_before(proxy, idp):
    """Its monotonic clock slept, too."""
    await proxy.token()
    proxy.clocks.wall += 8 * 3600
    await proxy.token()

    assert 2 == idp.calls


async def test_an_error_is_repeated_for_a_moment_and_for_its_own_key_only(proxy, idp):
    """4xx two seconds, 5xx half of one; others ask for themselves."""
    error = json_answer({"error": "invalid_scope"}, status="400 Bad Request")
    idp.answer = error
    for _ in range(5):
        assert 400 == (await proxy.ask()).status
    assert 1 == idp.calls
    await proxy.ask(grant(scope="other"))
    assert 2 == idp.calls
    proxy.clocks.forward(2.1)
    await proxy.ask()
    assert 3 == idp.calls
    idp.answer = json_answer({"error": "server_error"}, status="500 Internal Server Error")
    proxy.clocks.forward(2.1)
    assert [500, 500] == [(await proxy.ask()).status for _ in range(2)]
    proxy.clocks.forward(0.6)
    await proxy.ask()
    assert 5 == idp.calls


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            http_answer(b"oops", status="500 Internal Server Error"),
            Reason.PROXY_UPSTREAM_INVALID,
            id="500",
        ),
        pytest.param(
            http_answer(b"<html>", content_type="text/html"),
            Reason.PROXY_UPSTREAM_INVALID,
            id="html",
        ),
        pytest.param(
            json_answer(token(access_token="x" * MAX_REPLY)),
            Reason.PROXY_UPSTREAM_INVALID,
            id="too-large",
        ),
        pytest.param(
            lambda: drip(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"x" * 99, 0.05
            ),
            Reason.PROXY_UPSTREAM_UNAVAILABLE,
            id="slow",
        ),
        pytest.param(
            http_answer(b"", status="302 Found", Location="https://elsewhere.test/"),
            Reason.PROXY_UPSTREAM_INVALID,
            id="redirect",
        ),
        pytest.param(
            http_answer(b"", status="307 Temporary Redirect", Location="/again"),
            Reason.PROXY_UPSTREAM_INVALID,
            id="redirect-with-body",
        ),
        pytest.param(
            json_answer(token(), Content_Encoding="gzip"),
            Reason.PROXY_UPSTREAM_INVALID,
            id="encoded",
        ),
        pytest.param(b"no HTTP at all\r\n\r\n", Reason.PROXY_UPSTREAM_UNAVAILABLE, id="no-http"),
        pytest.param(b"", Reason.PROXY_UPSTREAM_UNAVAILABLE, id="hangs-up"),
        pytest.param(
            json_answer(token(expires_in=-1)), Reason.PROXY_UPSTREAM_INVALID, id="negative-life"
        ),
        pytest.param(
            json_answer(token(expires_in="soon")), Reason.PROXY_UPSTREAM_INVALID, id="life-in-words"
        ),
        pytest.param(
            json_answer(token(token_type="DPoP")), Reason.PROXY_UPSTREAM_INVALID, id="bound-token"
        ),
    ],
)
async def test_a_bad_upstream_is_an_error_in_time_and_nothing_is_kept(
    fresh, engine, idp, answer, reason
):
    """And everybody who waited is told; the call is on record."""
    idp.answer = answer
    async with proxy_on(fresh.app_url, engine, idp, timeout="800ms") as proxy:
        assert {reason} == set(await asyncio.gather(*(proxy.ask() for _ in range(5))))
        assert (0, 0) == (len(proxy.memory.tokens), len(proxy.memory.refusals))
        assert [[reason]] == [row["reasons"] for row in records(fresh, "proxy")]


async def test_ten_megabytes_are_not_read(fresh, engine, idp):
    """Whatever the upstream says of its length."""
    idp.answer = json_answer(token(access_token="x" * (10 << 20)))
    async with proxy_on(fresh.app_url, engine, idp) as proxy:
        assert Reason.PROXY_UPSTREAM_INVALID == await proxy.ask()


@pytest.mark.parametrize("said", [pytest.param(None, id="not-said"), pytest.param(0, id="none")])
async def test_a_token_of_unknown_life_is_handed_on_and_not_kept(proxy, idp, said):
    """Nobody is worse off than without the proxy."""
    idp.members = {"expires_in": said}
    answers = [await proxy.token() for _ in range(2)]

    assert [said, said] == [answer.get("expires_in") for answer in answers]
    assert (2, 0) == (idp.calls, len(proxy.memory.tokens))


async def test_an_upstream_that_is_away_is_left_in_peace(fresh, engine):
    """The circuit opens after five silences in a row, and costs nobody the timeout."""
    async with provider() as gone:
        pass
    async with proxy_on(fresh.app_url, engine, gone) as proxy:
        for number in range(8):
            assert Reason.PROXY_UPSTREAM_UNAVAILABLE == await proxy.ask(grant(scope=f"s{number}"))
        assert 2 == proxy.proxy.upstreams["idp"]._circuit.state


async def test_whoever_finds_a_request_that_provokes_errors_shuts_nobody_out(proxy, idp):
    """A 500 is an answer, and says nothing of the next one."""
    idp.answer = http_answer(b"", status="500 Internal Server Error", content_type=None)
    for number in range(10):
        await proxy.ask(grant(scope=f"s{number}"))
    idp.answer = None

    assert (await proxy.token())["access_token"]


async def test_a_connection_that_fails_is_tried_again_and_an_answer_is_not(proxy, idp):
    """A token is fetched once more where nobody knows what became of it; an error is an answer."""
    hang_up = iter([b"", b""])
    idp.answer = lambda: next(hang_up, None)
    assert (await proxy.token())["access_token"]
    assert 3 == idp.calls
    idp.answer = json_answer({"error": "server_error"}, status="503 Service Unavailable")
    assert 503 == (await proxy.ask(grant(scope="a"))).status
    assert 4 == idp.calls


async def test_an_endpoint_on_another_host_is_not_learnt(fresh, engine, idp):
    """Metadata may not say where clients' secrets go: RFC 8414 is no reason to trust a host."""
    async with loopback() as server:
        issuer = server.url("")
        document = {"issuer": issuer, "token_endpoint": idp.url}
        server.answers["/.well-known/openid-configuration"] = json_answer(document)
        async with proxy_on(
            fresh.app_url, engine, idp, token_endpoint=None, issuer=issuer
        ) as proxy:
            assert Reason.PROXY_UPSTREAM_INVALID == await proxy.ask()

    assert 0 == idp.calls


async def test_metadata_that_is_away_later_leaves_what_it_said(fresh, engine, idp):
    """An hour later it is asked again, and what it said before is good until it says otherwise."""
    clock = [0.0]
    issuer = f"http://127.0.0.1:{idp.port}"
    async with proxy_on(fresh.app_url, engine, idp, token_endpoint=None, issuer=issuer) as proxy:
        upstream = proxy.proxy.upstreams["idp"]
        upstream._monotonic = lambda: clock[0]
        await proxy.token()
        clock[0] += 2 * LEARNT_FOR
        idp.described = False
        await proxy.token(grant(scope="a"))

    assert 2 == idp.calls


async def test_the_endpoint_is_found_by_metadata_once(fresh, engine, idp):
    """RFC 8414: and on the issuer's own host only."""
    issuer = f"http://127.0.0.1:{idp.port}"
    async with proxy_on(fresh.app_url, engine, idp, token_endpoint=None, issuer=issuer) as proxy:
        for number in range(3):
            await proxy.token(grant(scope=f"s{number}"))

    assert 3 == idp.calls


async def test_memory_is_bounded_and_what_falls_out_is_fetched_again(fresh, engine, idp):
    """The least recently used goes."""
    bound = 10 * (OVERHEAD + 300)
    async with proxy_on(fresh.app_url, engine, idp, max_bytes=bound) as proxy:
        for number in range(50):
            await proxy.token(grant(scope=f"s{number}"))
            assert proxy.memory.tokens.size <= bound
        assert 8 <= len(proxy.memory.tokens) <= 11
        await proxy.token(grant(scope="s49"))
        await proxy.token(grant(scope="s0"))

    assert Counter({f"s{n}": 1 + (n == 0) for n in range(50)}) == idp.scopes()


async def test_wrong_secrets_push_out_no_token(fresh, engine, idp):
    """However many are tried."""
    async with proxy_on(fresh.app_url, engine, idp, max_bytes=2 * (OVERHEAD + 300)) as proxy:
        await proxy.token()
        for number in range(30):
            await proxy.ask(secret=f"wrong {number}")
        await proxy.token()

    assert 31 == idp.calls


async def test_whoever_guesses_is_slowed_down_and_a_right_guess_too(fresh, engine, idp):
    """The upstream sees one address, ours; and a guess must not be tried on what is kept."""
    async with proxy_on(fresh.app_url, engine, idp, rate="3/1m") as proxy:
        await proxy.token(source="192.0.2.9")
        for number in range(3):
            assert 401 == (await proxy.ask(secret=f"wrong {number}")).status
        calls = idp.calls

        assert Reason.CLIENT_THROTTLED == await proxy.ask(secret="wrong again")
        assert Reason.CLIENT_THROTTLED == await proxy.ask()
        assert (await proxy.token(source="192.0.2.9"))["access_token"]
        assert calls == idp.calls


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param({"client": "mallory"}, Reason.PROXY_CLIENT_NOT_ALLOWED, id="client"),
        pytest.param({"upstream": "other"}, Reason.PROXY_UPSTREAM_UNKNOWN, id="upstream"),
        pytest.param({"upstream": "IDP"}, Reason.PROXY_UPSTREAM_UNKNOWN, id="upstream-by-case"),
        pytest.param({"form": grant(actor="root")}, Reason.PROXY_PARAMETER_NOT_ALLOWED, id="form"),
    ],
)
async def test_what_the_configuration_does_not_name_is_not_forwarded(
    proxy, idp, fresh, asked, reason
):
    """And on record."""
    assert reason == await proxy.ask(**asked)
    assert 0 == idp.calls
    assert [[reason]] == [row["reasons"] for row in records(fresh, "proxy")]


class Says:
    """A policy engine that always says the same; what it says is the test's."""

    revision, available = "r", True

    def __init__(self, output: object = None) -> None:
        self.output = output
        self.asked = 0

    async def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        self.asked += 1
        if isinstance(self.output, Exception):
            raise self.output
        return Evaluation("r", input, self.output)

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        pytest.param(PolicyUnavailable("down"), Reason.POLICY_UNAVAILABLE, id="down"),
        pytest.param(None, Reason.POLICY_UNDEFINED, id="undefined"),
        pytest.param({}, Reason.POLICY_MALFORMED, id="empty"),
        pytest.param({"allow": True}, Reason.POLICY_MALFORMED, id="without-reasons"),
        pytest.param({"allow": 1, "reasons": []}, Reason.POLICY_MALFORMED, id="one-is-no-yes"),
        pytest.param(
            {"allow": True, "reasons": ["proxy.denied"]}, Reason.POLICY_MALFORMED, id="both"
        ),
        pytest.param({"allow": False, "reasons": []}, Reason.POLICY_MALFORMED, id="no-reason"),
        pytest.param(
            {"allow": False, "reasons": ["policy.denied"]},
            Reason.POLICY_MALFORMED,
            id="a-reason-of-exchanges",
        ),
        pytest.param({"allow": True, "reasons": [], "more": 1}, Reason.POLICY_MALFORMED, id="more"),
        pytest.param(
            {"allow": False, "reasons": ["proxy.scope_not_allowed"]},
            Reason.PROXY_SCOPE_NOT_ALLOWED,
            id="no",
        ),
    ],
)
async def test_what_the_policy_does_not_allow_is_not_had(fresh, idp, output, reason):
    """Not even what is kept from when it was: the policy is asked first."""
    says = Says({"allow": True, "reasons": []})
    async with proxy_on(fresh.app_url, says, idp) as proxy:
        proxy.proxy.permissions._remember = False
        await proxy.token()
        says.output = output

        assert reason == await proxy.ask()
        assert 1 == idp.calls


async def test_a_policy_that_cannot_change_is_asked_once_for_each_combination(fresh, idp):
    """In this process it is part of the configuration, and its input has no clock."""
    says = Says({"allow": True, "reasons": []})
    async with proxy_on(fresh.app_url, says, idp) as proxy:
        for _ in range(5):
            await proxy.token()
        await proxy.token(grant(scope="a"))

    assert 2 == says.asked


async def test_no_row_no_token(fresh, engine, idp):
    """What cannot be recorded is thrown away; what was recorded is served on."""
    deadline = timedelta(milliseconds=300)
    async with proxy_on(fresh.app_url, engine, idp, deadline=deadline) as proxy:
        kept = await proxy.token()
        execute(fresh.owner_url, "REVOKE INSERT ON audit_event FROM broker_app")
        refused = await asyncio.gather(*(proxy.ask(grant(scope="a")) for _ in range(3)))
        held = await proxy.token()
        execute(fresh.owner_url, "GRANT INSERT ON audit_event TO broker_app")

        assert {Reason.AUDIT_UNAVAILABLE} == set(refused)
        assert kept["access_token"] == held["access_token"]
        assert (2, 1) == (idp.calls, len(proxy.memory.tokens))


async def test_each_call_is_a_row_and_hits_are_counted_together(proxy, idp, fresh):
    """Client, scope and hits; nothing of the token but its digest."""
    for client, scope, times in (("checkout", "a", 4), ("billing", "b", 2)):
        for _ in range(times):
            await proxy.token(grant(scope=scope, tenant="blue"), client=client)
    await proxy.memory.hits.summarise()
    rows = records(fresh, "proxy")
    (hits,) = records(fresh, "hits")

    assert [("checkout", ["a"], 3600), ("billing", ["b"], 3600)] == [
        (row["client"]["id"], row["scopes"], row["expires_in"]) for row in rows
    ]
    assert {
        "upstream": "idp",
        "unverified_client": "checkout",
        "scopes": ["a"],
        "audiences": [],
        "resources": [],
        "parameters": ["tenant"],
    } == rows[0]["asked"]
    assert {"tenant": "blue"} == rows[0]["personal"]["policy_input"]["request"]["parameters"]
    assert (
        [
            {"upstream": "idp", "client": "checkout", "scope": "a", "hits": 3},
            {"upstream": "idp", "client": "billing", "scope": "b", "hits": 1},
        ],
        4,
    ) == (hits["hits"], hits["total"])
    assert "upstream-token" not in json.dumps([*rows, hits])


async def test_a_secret_is_nowhere_when_its_request_is_answered(fresh, engine, idp):
    """As far as Python permits to look: in no object that anything still refers to."""
    secret = "nowhere-" + "to-be-found-4711"
    idp.secrets = frozenset({secret})
    async with proxy_on(fresh.app_url, engine, idp) as proxy:
        await proxy.token(secret=secret)
        await proxy.token(secret=secret)
        proxy.clocks.forward(3300)
        await proxy.token(secret=secret)
        await proxy.settled()
        await proxy.ask(secret=secret, form=grant(actor="root"))
        idp.heads.clear()
        idp.secrets = frozenset()
        encoded = b64encode(f"checkout:{secret}".encode()).decode()
        del secret
        gc.collect()

        assert [] == find_text("to-be-found-4711")
        assert [] == find_text(encoded)


def test_the_search_finds_what_is_there():
    """The twin of the test above."""
    kept = {"a": (b"x-%b" % b"to-be-found-4711",)}

    assert 1 <= len(find_text("to-be-found-4711")) <= 3
    assert kept


async def test_the_same_secret_is_forwarded_in_the_spelling_in_which_it_came(proxy, idp):
    """Encoded as RFC 6749 has it, or not at all: the upstream decides what is right."""
    await proxy.token()

    assert SECRET not in idp.heads[0]
    assert "Authorization: Basic " in idp.heads[0]
