"""Each answer has its row and each row its answer; and nothing that is shown is a secret."""

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from tests.configuration import secret
from tests.jwts import (
    CLIENT_KEY,
    ONCE,
    STRANGERS_KEY,
    actor_jwt,
    client_assertion,
    subject_jwt,
    unverified_claims,
)
from tests.server import BrokerClient
from tests.wire import ASSERTION_TYPE, JWT, basic, exchange_form

Ask = Callable[[BrokerClient], Coroutine[Any, Any, httpx.Response]]
ROUNDS = 8

_ONCE = subject_jwt(iss=ONCE)
_AGAIN = subject_jwt(aud="svc-reuse")
_ASSERTION = client_assertion()
# By what becomes of it: ``issued``, or the reason on record.
ASKED: list[tuple[str, Ask]] = [
    ("issued", lambda b: b.exchange()),
    ("issued", lambda b: b.exchange(exchange_form(subject_token=subject_jwt(iss=ONCE)))),
    ("issued", lambda b: b.exchange(exchange_form(audience="svc-ed"))),
    (
        "again",
        lambda b: b.exchange(exchange_form(subject_token=_AGAIN), auth=basic("svc-reuse")),
    ),
    (
        "issued",
        lambda b: b.exchange(exchange_form(actor_token=actor_jwt(), actor_token_type=JWT)),
    ),
    (
        "issued",
        lambda b: b.exchange(
            exchange_form(
                subject_token=subject_jwt(aud="svc-jwt"),
                client_assertion_type=ASSERTION_TYPE,
                client_assertion=client_assertion(),
            ),
            auth=None,
        ),
    ),
    ("request.method_not_allowed", lambda b: b.get("/token")),
    ("request.too_large", lambda b: b.exchange([("x", "a" * 70_000)])),
    (
        "request.content_type",
        lambda b: b.request("POST", "/token", json={"grant_type": "x"}, auth=basic()),
    ),
    ("request.query", lambda b: b.request("POST", "/token?a=b", data=exchange_form())),
    ("request.repeated", lambda b: b.exchange(exchange_form(scope=["a", "b"]))),
    ("request.grant_type", lambda b: b.exchange(exchange_form(grant_type="password"))),
    ("client.unknown", lambda b: b.exchange(auth=("nobody", "x" * 43))),
    ("client.secret", lambda b: b.exchange(auth=("svc-a", "x" * 43))),
    ("client.none", lambda b: b.exchange(auth=None)),
    ("forged", lambda b: b.exchange(exchange_form(subject_token=subject_jwt(key=STRANGERS_KEY)))),
    ("expired", lambda b: b.exchange(exchange_form(subject_token=subject_jwt(exp=1)))),
    ("replayed", lambda b: b.exchange(exchange_form(subject_token=_ONCE))),
    ("target", lambda b: b.exchange(exchange_form(audience="nowhere"))),
    ("scope", lambda b: b.exchange(exchange_form(scope="orders.write"))),
    ("granted", lambda b: b.exchange(auth=basic("svc-no-grant"))),
]
PRIVATE = ("eyJ", secret("svc-a"), "PRIVATE KEY", base64.b64encode(b"k" * 32).decode())


@pytest.mark.row("OP-01", "OP-10", "INV-8")
async def test_each_answer_has_exactly_one_row_of_its_own(broker: BrokerClient) -> None:
    """Ours: reconciled by the request id, for every sort of request and many at a time."""
    asked = [ask for _, ask in ASKED for _ in range(ROUNDS)]
    random.shuffle(asked)
    answers = await asyncio.gather(*(ask(broker) for ask in asked))
    rows = await broker.rows()

    ids = Counter(answer.headers["x-request-id"] for answer in answers)
    assert {1} == set(ids.values())
    assert ids == Counter(row["request_id"] for row in rows)
    by_request = {row["request_id"]: row for row in rows}
    for answer in answers:
        row = by_request[answer.headers["x-request-id"]]
        assert (answer.status_code == 200) == (row["outcome"] == "issued")
        assert (row["reason"] is None) == (row["outcome"] == "issued")
        if answer.status_code == 200:
            jti = unverified_claims(answer.json()["access_token"])["jti"]
            assert jti == json.loads(row["record"])["jti"]
            assert (jti == str(row["id"])) == (row["action"] is None)
    assert sum(row["action"] == "reuse" for row in rows) >= ROUNDS - 1
    # The twin: all sorts were among them.
    statuses = Counter(answer.status_code for answer in answers)
    assert {200, 400, 401, 405, 413} == set(statuses)
    assert len({row["reason"] for row in rows}) >= 14


@pytest.mark.row("OP-03", "ATK-LOG-01")
async def test_nothing_that_is_shown_holds_a_secret(broker: BrokerClient) -> None:
    """Ours: logs, metrics, readiness, keys, metadata, refusals and records are searched."""
    answers = await asyncio.gather(*(ask(broker) for _, ask in ASKED))
    refused = [answer.text for answer in answers if answer.status_code != 200]
    shown = {
        "log": broker.process.log.read_text(),
        "metrics": (await broker.admin("/metrics")).text,
        "readiness": (await broker.admin("/health/ready")).text,
        "status": (await broker.admin("/admin/status")).text,
        "jwks": (await broker.get("/.well-known/jwks.json")).text,
        "metadata": (await broker.get("/.well-known/oauth-authorization-server")).text,
        "refusals": "\n".join(refused),
        "records": "\n".join(row["record"] for row in await broker.rows()),
    }
    numbers = CLIENT_KEY.private_numbers().private_value
    private = [*PRIVATE, _ONCE, _ASSERTION, str(numbers), f"{numbers:x}"]
    found = {name: [each for each in private if each in text] for name, text in shown.items()}

    assert {} == {name: texts for name, texts in found.items() if texts}
    keys = (await broker.get("/.well-known/jwks.json")).json()["keys"]
    assert keys
    members = {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops"}
    assert all(set(key) <= members for key in keys)
    # The twin: the search finds what is there.
    assert any("eyJ" in answer.text for answer in answers if answer.status_code == 200)
