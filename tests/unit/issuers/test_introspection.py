"""Asking an issuer about a token: once at a time, not too often, and believing nothing for long."""

import asyncio
import json
from typing import Any

import pytest

from broker.circuit import COOLDOWN, FAILURES
from broker.errors import ConfigurationError
from broker.issuers.fetch import FetchFailed, FetchFault
from broker.issuers.introspection import (
    KEPT,
    UNDER_WAY,
    Introspector,
    NotAnswered,
    load_client_secret,
)
from broker.settings import Introspection
from tests.introspecting import INACTIVE, active

TOKEN = "idp_at_1"


class Issuer:
    """Where the questions arrive: answers, fails, or does not answer until told to."""

    def __init__(self) -> None:
        self.answer: Any = active()
        self.forms: list[dict[str, str]] = []
        self.under_way = self.most = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_asked = asyncio.Event()
        self.now = 1000.0

    @property
    def asked(self) -> int:
        return len(self.forms)

    async def ask(self, url: str, form: dict[str, str], credentials: object) -> bytes:
        """Be asked once, as ``GuardedFetcher`` asks."""
        self.forms.append(form)
        self.is_asked.set()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may_answer.wait()
        finally:
            self.under_way -= 1
        if isinstance(self.answer, FetchFault):
            raise FetchFailed(self.answer)
        return self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()


@pytest.fixture
def issuer() -> Issuer:
    """Says that every token is active."""
    return Issuer()


def introspector(issuer: Issuer, **settings: Any) -> Introspector:
    """Who asks it."""
    values = {"endpoint": "https://idp.test/i", "client_id": "b", "client_secret": "s"}
    values |= {"deadline": "3s"} | settings
    return Introspector(
        "idp",
        Introspection.model_validate(values),
        issuer,
        None,
        monotonic=lambda: issuer.now,
    )


async def fault(introspector: Introspector, token: str = TOKEN) -> FetchFault:
    """Why there is no answer."""
    with pytest.raises(NotAnswered) as caught:
        await introspector.ask(token)
    return caught.value.fault


async def test_an_active_token_is_what_its_issuer_says(issuer):
    """RFC 7662 §2.1: a form with the token, and a hint of what it is."""
    claims = await introspector(issuer).ask(TOKEN)

    assert issuer.answer == claims
    assert [{"token": TOKEN, "token_type_hint": "access_token"}] == issuer.forms


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(INACTIVE, id="false"),
        pytest.param({}, id="missing"),
        pytest.param(active(active=None), id="null"),
        pytest.param(active(active="true"), id="text"),
        pytest.param(active(active=1), id="one"),
        pytest.param(active(active=[True]), id="list"),
        pytest.param({"Active": True, "sub": "alice"}, id="another-case"),
        pytest.param({"error": "invalid_client"}, id="an-error"),
    ],
)
async def test_what_is_not_called_active_is_not(issuer, answer):
    """RFC 7662 §2.2: the boolean true, and nothing like it."""
    issuer.answer = answer

    assert await introspector(issuer).ask(TOKEN) is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"true", id="not-an-object"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"active": true', id="cut-off"),
        pytest.param(b'{"active": false, "active": true}', id="said-twice"),
        pytest.param(b'{"active": true, "exp": 1e400}', id="infinity"),
        pytest.param(b'{"active": true, "a": ' + b"[" * 50 + b"]" * 50 + b"}", id="deep"),
        pytest.param(b'\xff{"active": true}', id="not-utf-8"),
    ],
)
async def test_garbage_is_no_answer(issuer, answer):
    """It says neither yes nor no."""
    issuer.answer = answer

    assert FetchFault.NOT_AN_ANSWER == await fault(introspector(issuer))


@pytest.mark.parametrize(
    ("cache", "later", "asked"),
    [("1s", 0.99, 1), ("1s", 1.0, 2), ("30s", 29.9, 1), ("30s", 30.0, 2), ("0s", 0.0, 2)],
)
async def test_an_answer_is_believed_for_as_long_as_configured(issuer, cache, later, asked):
    """Whether it was yes or no; with 0s each time anew."""
    asking = introspector(issuer, cache=cache)
    for answer in (active(), INACTIVE):
        issuer.answer = answer
        token = str(answer)
        before = issuer.asked
        first = await asking.ask(token)
        issuer.now += later

        assert first == await asking.ask(token)
        assert asked == issuer.asked - before


async def test_an_answer_ages_from_when_it_was_asked_for(issuer):
    """A slow one is not believed for longer: what it says may have changed on its way."""
    asking = introspector(issuer, cache="1s")
    issuer.may_answer.clear()
    waiting = asyncio.create_task(asking.ask(TOKEN))
    await issuer.is_asked.wait()
    issuer.now += 0.9
    issuer.may_answer.set()
    await waiting
    issuer.answer = INACTIVE
    issuer.now += 0.1

    assert await asking.ask(TOKEN) is None


async def test_about_one_token_the_issuer_is_asked_once_at_a_time(issuer):
    """However many present it at that moment, and whichever of them leaves."""
    asking = introspector(issuer, cache="0s")
    issuer.may_answer.clear()
    waiting = [asyncio.create_task(asking.ask(TOKEN)) for _ in range(100)]
    await issuer.is_asked.wait()
    waiting[0].cancel()
    await asyncio.sleep(0)
    issuer.may_answer.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert [active()["sub"]] * 99 == [claims["sub"] for claims in found[1:]]
    assert 1 == issuer.asked


async def test_a_hundred_tokens_are_never_asked_about_all_at_once(issuer):
    """An issuer is not brought down by whoever has many tokens."""
    issuer.may_answer.clear()
    asking = introspector(issuer)
    waiting = [asyncio.create_task(asking.ask(f"t{number}")) for number in range(100)]
    for _ in range(20):
        await asyncio.sleep(0)
    most = issuer.under_way
    issuer.may_answer.set()
    await asyncio.gather(*waiting)

    assert (UNDER_WAY, UNDER_WAY, 100) == (most, issuer.most, issuer.asked)


async def test_who_waits_too_long_for_a_turn_does_not_blame_the_issuer(issuer):
    """Many questions are no sign that nobody is there, so the circuit stays closed."""
    asking = introspector(issuer, deadline="50ms")
    for _ in range(UNDER_WAY):
        await asking._slots.acquire()
    faults = [await fault(asking, f"t{number}") for number in range(FAILURES + 1)]
    for _ in range(UNDER_WAY):
        asking._slots.release()

    assert [FetchFault.BUSY] * (FAILURES + 1) == faults
    assert await asking.ask(TOKEN)


async def test_an_issuer_that_is_slow_costs_the_deadline(issuer):
    """And the question does not go on behind it."""
    issuer.may_answer.clear()

    assert FetchFault.TIMEOUT == await fault(introspector(issuer, deadline="50ms"))
    assert 0 == issuer.under_way


@pytest.mark.parametrize("silent", ["unreachable", "timeout", "tls", "name_unknown"])
async def test_an_issuer_that_is_silent_is_left_in_peace(issuer, silent):
    """Nobody waits for it for a second; then one tries, and then all."""
    asking = introspector(issuer, cache="0s")
    issuer.answer = FetchFault(silent)
    faults = [await fault(asking) for _ in range(FAILURES + 3)]
    issuer.answer = active()
    issuer.now += COOLDOWN
    again = [await asking.ask(TOKEN) for _ in range(3)]

    assert [silent] * FAILURES + ["not_asked"] * 3 == faults
    assert FAILURES + 3 == issuer.asked
    assert all(again)


@pytest.mark.parametrize(
    "answer",
    [
        *(FetchFault(name) for name in ("status", "redirect", "content_type", "too_large")),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(INACTIVE, id="inactive"),
    ],
)
async def test_whoever_provokes_a_wrong_answer_shuts_nobody_out(issuer, answer):
    """What an issuer does with one token says nothing about the others."""
    asking = introspector(issuer)
    issuer.answer = answer
    for number in range(FAILURES * 2):
        if answer == INACTIVE:
            assert await asking.ask(f"t{number}") is None
        else:
            await fault(asking, f"t{number}")
    issuer.answer = active()

    assert await asking.ask(TOKEN)


async def test_no_failure_is_kept(issuer):
    """The next one asks again."""
    asking = introspector(issuer)
    issuer.answer = FetchFault.STATUS
    first = await fault(asking)
    issuer.answer = active()

    assert (FetchFault.STATUS, "alice") == (first, (await asking.ask(TOKEN))["sub"])


async def test_the_answers_are_bounded_and_know_no_token(issuer):
    """ATK-LOG-01: a flood of tokens pushes out the oldest, and what is kept is a hash."""
    asking = introspector(issuer, cache="30s")
    for number in range(KEPT + 10):
        await asking.ask(f"token-{number}")
    before = issuer.asked
    await asking.ask(f"token-{KEPT + 9}")
    await asking.ask("token-0")

    assert (KEPT, 0) == (len(asking._answers), len(asking._tasks))
    assert before + 1 == issuer.asked
    assert {32} == {len(key) for key in asking._answers}


async def test_closing_ends_what_is_under_way(issuer):
    """Whoever waits is told that there is no answer."""
    issuer.may_answer.clear()
    asking = introspector(issuer)
    waiting = asyncio.create_task(fault(asking))
    await issuer.is_asked.wait()
    await asking.aclose()

    assert FetchFault.NOT_ASKED == await waiting
    assert 0 == issuer.under_way


async def test_a_failure_is_logged_once_and_without_the_token(issuer, caplog):
    """A thousand questions that fail alike are one line; another fault is another."""
    asking = introspector(issuer, cache="0s")
    for answer in (FetchFault.STATUS, FetchFault.STATUS, b"x", active(), b"x"):
        issuer.answer = answer
        try:
            await asking.ask(TOKEN)
        except NotAnswered:
            continue

    assert ["status", "not_an_answer", "not_an_answer"] == [
        record.fault for record in caplog.records
    ]
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        pytest.param("s3cret\n", 0o600, "s3cret", id="good"),
        pytest.param(None, 0o600, "does not exist", id="missing"),
        pytest.param(" \n", 0o600, "is empty", id="empty"),
        pytest.param("s3cret", 0o644, "everybody can read", id="readable-by-all"),
    ],
)
def test_the_secret_is_read_from_its_file(tmp_path, text, mode, expected):
    """As every secret of the configuration is: and no message repeats it."""
    file = tmp_path / "secret"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    settings = Introspection.model_validate(
        {"endpoint": "https://idp.test/i", "client_id": "b", "client_secret_file": str(file)}
    )
    try:
        found = load_client_secret("idp: introspection", settings)
    except ConfigurationError as error:
        found = str(error)
        assert found.startswith("idp: introspection.client_secret_file: ")
        assert "s3cret" not in found

    assert expected in found


def test_a_secret_that_is_no_text_is_refused(tmp_path):
    """It could not be sent as RFC 6749 §2.3.1 has it."""
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    file.chmod(0o600)
    settings = Introspection.model_validate(
        {"endpoint": "https://idp.test/i", "client_id": "b", "client_secret_file": str(file)}
    )

    with pytest.raises(ConfigurationError, match="is not text"):
        load_client_secret("idp: introspection", settings)
