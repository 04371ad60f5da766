"""``broker doctor``: what a configuration points to is looked at, and each fault has its remedy."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from broker.policy.bundle import build_bundle, render_archive
from tests.diagnosis import NOWHERE, Change, configured, diagnose, findings, key_set
from tests.fixtures.opa import OpaServer
from tests.fixtures.postgres import OneDatabase, execute
from tests.jwts import CLIENT_KEY, IDP, KEYS, STRANGERS_KEY
from tests.loopback import Loopback, http_answer, json_answer, loopback

KEY_SET = key_set(KEYS[IDP], alg="ES256")


def found(result: Result, subject: str) -> dict[str, str]:
    """What was found about one subject, which is one thing."""
    (finding,) = [each for each in findings(result) if each["subject"] == subject]
    return finding


def dated(offset: timedelta) -> str:
    return format_datetime(datetime.now(UTC) + offset, usegmt=True)


@pytest.fixture
async def idp() -> AsyncIterator[Loopback]:
    """The keys of an identity provider at /jwks, good ones until a test says otherwise."""
    answers = {"/jwks": lambda: json_answer(KEY_SET, date=dated(timedelta()))}
    async with loopback(answers) as server:
        yield server


def fetched(url: str, **settings: Any) -> Change:
    """Let the keys of the first issuer be fetched from ``url``."""

    def change(document: dict[str, Any], _: Path) -> None:
        issuer = next(each for each in document["issuers"] if each["issuer"] == IDP)
        del issuer["jwks"]
        issuer.update({"jwks_uri": url, "allow_private_network": True} | settings)

    return change


def nothing(_: dict[str, Any], __: Path) -> None:
    """Change nothing."""


async def examine(folder: Path, change: Change = nothing, database_url: str = NOWHERE) -> Result:
    """Run ``broker doctor`` apart from this loop, which serves what it asks."""
    config = configured(folder, change, database_url=database_url)
    return await asyncio.to_thread(diagnose, "doctor", config)


async def test_all_is_well_with_a_broker_that_could_start(
    tmp_path: Path, fresh: OneDatabase, idp: Loopback
):
    """Exit code 0, and every look is among what was looked at."""
    result = await examine(tmp_path, fetched(idp.url("/jwks")), fresh.app_url)

    assert 0 == result.exit_code, result.stdout
    assert {
        *("settings", "keys.kek_file", "policy", "grants", "keys of issuer idp"),
        *("keys of client svc-jwt", "clock of issuer idp", "database", "clock of the database"),
        *("migrations", "audit partitions", "role broker_app", "audit trail"),
        *("signing keys ES256", "signing keys Ed25519", "signing keys RS256"),
        *("listen", "admin"),
    } <= {each["subject"] for each in findings(result)}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(http_answer(b"", status="500 Oops"), "answers with an error", id="500"),
        pytest.param(http_answer(b"{}", status="302 Found", location="/x"), "redirects", id="302"),
        pytest.param(http_answer(b"<p>", content_type="text/html"), "not JSON", id="html"),
        pytest.param(json_answer({}), "not a JWK set", id="no-key-set"),
        pytest.param(json_answer({"keys": []}), "none is usable", id="no-key"),
        pytest.param(json_answer(key_set(CLIENT_KEY, use="enc")), "its use is not sig", id="use"),
        pytest.param(
            json_answer({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), "symmetric", id="secret"
        ),
        pytest.param(http_answer(b" " * 300_000), "more than 256 KiB", id="too-large"),
    ],
)
async def test_what_is_wrong_with_the_keys_of_an_issuer_is_named(
    tmp_path: Path, idp: Loopback, answer: bytes, text: str
):
    """Before a token of it is refused for that."""
    idp.answers["/jwks"] = answer

    finding = found(await examine(tmp_path, fetched(idp.url("/jwks"))), "keys of issuer idp")

    assert ("bad", True) == (finding["mark"], text in finding["text"]), finding
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("url", "settings", "text"),
    [
        pytest.param("https://idp.invalid/jwks", {}, "has no address", id="unknown-host"),
        pytest.param("http://127.0.0.1:9/jwks", {}, "nothing answers", id="nobody-there"),
        pytest.param(
            "https://127.0.0.1:9/jwks",
            {"allow_private_network": False},
            "private address",
            id="private-address",
        ),
    ],
)
async def test_an_issuer_that_cannot_be_reached_is_named(
    tmp_path: Path, url: str, settings: dict[str, Any], text: str
):
    """With its URL and what keeps us from it."""
    result = await examine(tmp_path, fetched(url, **settings))

    finding = found(result, "keys of issuer idp")
    assert ("bad", True, True) == (finding["mark"], text in finding["text"], url in finding["text"])


async def test_metadata_that_speaks_for_another_issuer_is_named(tmp_path: Path, idp: Loopback):
    """RFC 8414 §3.3: the mistake is most often a slash at the end."""
    idp.answers["/.well-known/openid-configuration"] = json_answer(
        {"issuer": idp.url("/"), "jwks_uri": idp.url("/jwks")}
    )

    def change(document: dict[str, Any], _: Path) -> None:
        issuer = document["issuers"][0]
        del issuer["jwks"]
        issuer.update({"issuer": idp.url(""), "discovery": True, "allow_private_network": True})
        for client in document["clients"]:
            client.pop("known_as", None)

    finding = found(await examine(tmp_path, change), "keys of issuer idp")

    assert "speaks for another issuer" in finding["text"]
    assert "slash" in finding["remedy"]


@pytest.mark.parametrize(
    ("offset", "mark", "text"),
    [
        pytest.param(timedelta(), "good", "agrees", id="same"),
        pytest.param(timedelta(seconds=12), "warning", "ahead", id="a-little-ahead"),
        pytest.param(timedelta(minutes=-5), "bad", "behind", id="far-behind"),
        pytest.param(timedelta(minutes=5), "bad", "more than the 30 s allowed", id="far-ahead"),
    ],
)
async def test_the_clock_of_an_issuer_is_compared(
    tmp_path: Path, idp: Loopback, offset: timedelta, mark: str, text: str
):
    """Its tokens are refused when it is further off than the leeway."""
    idp.answers["/jwks"] = lambda: json_answer(KEY_SET, date=dated(offset))

    finding = found(await examine(tmp_path, fetched(idp.url("/jwks"))), "clock of issuer idp")

    assert (mark, True) == (finding["mark"], text in finding["text"]), finding


async def test_a_key_that_two_parties_publish_is_named(tmp_path: Path, idp: Loopback):
    """Also where one publishes it and the other wrote it into the configuration."""
    idp.answers["/jwks"] = json_answer(key_set(CLIENT_KEY, STRANGERS_KEY))

    finding = found(await examine(tmp_path, fetched(idp.url("/jwks"))), "duplicate keys")

    assert "issuer idp and client svc-jwt" in finding["text"] or (
        "client svc-jwt and issuer idp" in finding["text"]
    )


async def test_a_database_that_is_not_there_is_named(tmp_path: Path):
    """Without the password of its URL."""
    result = await examine(tmp_path, database_url="postgresql://u:hunter2@127.0.0.1:9/broker")

    finding = found(result, "database")
    assert (2, "bad") == (result.exit_code, finding["mark"])
    assert "127.0.0.1/broker does not answer" in finding["text"]
    assert "hunter2" not in result.output


async def test_migrations_that_are_not_applied_are_named(tmp_path: Path, empty: OneDatabase):
    """And the command that applies them."""
    result = await examine(tmp_path, database_url=empty.app_url)

    finding = found(result, "migrations")
    assert "bad" == finding["mark"]
    assert "broker migrate" in finding["remedy"]


async def test_a_role_that_could_change_the_audit_trail_is_named(
    tmp_path: Path, fresh: OneDatabase
):
    """The owner, a superuser, or whom somebody gave more than is needed."""
    faults = []
    for name, url in (("owner", fresh.owner_url), ("superuser", fresh.superuser_url)):
        folder = tmp_path / name
        folder.mkdir()
        result = await examine(folder, database_url=url)
        faults += [each["text"] for each in findings(result) if each["subject"].startswith("role")]
    execute(fresh.owner_url, "GRANT UPDATE ON audit_event TO broker_app")
    folder = tmp_path / "granted"
    folder.mkdir()
    result = await examine(folder, database_url=fresh.app_url)
    faults += [found(result, "role broker_app")["text"]]

    assert [
        "owns the audit tables, so it could change what is recorded",
        "is a superuser, so it could change what is recorded",
        "may change what is recorded: UPDATE on audit_event",
    ] == faults


async def test_rights_that_the_broker_lacks_are_named(tmp_path: Path, fresh: OneDatabase):
    """Before the first token waits for its row in vain."""
    execute(fresh.owner_url, "REVOKE INSERT ON audit_event FROM broker_app")

    finding = found(await examine(tmp_path, database_url=fresh.app_url), "role broker_app")

    assert ("bad", "lacks INSERT on audit_event") == (finding["mark"], finding["text"])


async def test_commits_that_are_not_durable_are_named(tmp_path: Path, fresh: OneDatabase):
    """A role for which COMMIT does not wait for the disk."""
    execute(fresh.superuser_url, "ALTER ROLE broker_app SET synchronous_commit = off")
    try:
        finding = found(await examine(tmp_path, database_url=fresh.app_url), "database")
    finally:
        execute(fresh.superuser_url, "ALTER ROLE broker_app RESET synchronous_commit")

    assert ("bad", True) == (finding["mark"], "synchronous_commit=off" in finding["text"])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def test_a_port_that_is_taken_is_named(tmp_path: Path, taken: int):
    """And by whose key to choose another."""
    finding = found(
        await examine(tmp_path, lambda document, _: document["listen"].update(port=taken)),
        "listen",
    )

    assert ("bad", f"127.0.0.1:{taken} is taken by another program") == (
        finding["mark"],
        finding["text"],
    )
    assert "listen.port" in finding["remedy"]


async def test_an_opa_server_that_is_not_there_is_named(tmp_path: Path):
    """Until it is, every exchange is a 503."""

    def change(document: dict[str, Any], _: Path) -> None:
        document["policy"].update(engine="opa", url="http://127.0.0.1:9")

    finding = found(await examine(tmp_path, change), "OPA server")

    assert ("bad", True) == (finding["mark"], "does not answer" in finding["text"])


async def test_an_opa_server_without_the_policy_is_named(tmp_path: Path, idp: Loopback):
    """It answers, and knows no decision."""
    idp.answers["/health?bundles=true"] = json_answer({})
    idp.answers["/v1/data/broker/exchange/decision?provenance=true"] = json_answer({})

    def change(document: dict[str, Any], _: Path) -> None:
        document["policy"].update(engine="opa", url=idp.url(""))

    finding = found(await examine(tmp_path, change), "OPA server")

    assert "has no data.broker.exchange.decision" in finding["text"]


async def test_an_opa_server_with_another_policy_is_named(
    tmp_path: Path, opa_server: Callable[..., OpaServer]
):
    """One that has ours is well; an edit that has not reached it is said."""
    config = configured(tmp_path)
    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_bytes(render_archive(build_bundle(tmp_path / "policies"), "opa"))
    url = opa_server(bundle).url

    def change(document: dict[str, Any], _: Path) -> None:
        document["policy"].update(engine="opa", url=url)

    same = found(await examine(tmp_path, change), "OPA server")
    grants = tmp_path / "policies/broker/grants/data.yaml"
    grants.write_text(f"{grants.read_text()}\nsvc-new: {{}}\n")
    other = found(await asyncio.to_thread(diagnose, "doctor", config), "OPA server")

    assert ("good", True) == (same["mark"], "decides, revision" in same["text"])
    assert ("warning", True) == (other["mark"], "the folder here is" in other["text"])


async def test_nothing_that_hangs_holds_it_up(tmp_path: Path):
    """An issuer, a database and an OPA server that accept and stay silent: bounded, and named."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]

        def change(document: dict[str, Any], folder: Path) -> None:
            fetched(f"http://127.0.0.1:{port}/jwks")(document, folder)
            document["policy"].update(engine="opa", url=f"http://127.0.0.1:{port}")

        began = time.monotonic()
        result = await examine(tmp_path, change, f"postgresql://u@127.0.0.1:{port}/broker")

    assert time.monotonic() - began < 30
    marks = {each["subject"]: each["mark"] for each in findings(result)}
    assert {"bad"} == {marks[name] for name in ("database", "OPA server", "keys of issuer idp")}


async def test_settings_that_cannot_be_read_end_it(tmp_path: Path):
    """Then there is nothing to look at outside, and it says what is wrong with them."""
    result = await examine(tmp_path, lambda document, _: document.update(isuer="x"))

    assert (2, ["isuer"]) == (
        result.exit_code,
        [each["subject"] for each in json.loads(result.stdout)["findings"]],
    )


async def test_partitions_that_run_out_are_named(tmp_path: Path, fresh: OneDatabase):
    """The audit trail has a table for each day, and without one nothing is issued."""
    execute(
        fresh.owner_url,
        """
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
                WHERE inhparent = 'audit_event'::regclass
                AND inhrelid::regclass::text > 'audit_event_p'
                    || to_char(now() AT TIME ZONE 'UTC' + interval '2 days', 'YYYYMMDD')
            LOOP EXECUTE 'DROP TABLE ' || name; END LOOP;
        END $$
        """,
    )

    finding = found(await examine(tmp_path, database_url=fresh.app_url), "audit partitions")

    assert "warning" == finding["mark"], finding
    assert "broker migrate" in finding["remedy"]


async def test_a_key_encryption_key_that_opens_nothing_is_named(tmp_path: Path, fresh: OneDatabase):
    """Most often that of another installation, or one made anew after a restore."""
    execute(
        fresh.owner_url,
        """
        INSERT INTO signing_key (kid, algorithm, state, generation, public_jwk, wrapped_key,
                                 wrapped_dek, created_at, activated_at)
        VALUES ('k', 'ES256', 'active', 1, '{}', '\\x01', '\\x01', now(), now())
        """,
    )

    result = await examine(tmp_path, database_url=fresh.app_url)

    kek = [each for each in findings(result) if each["subject"] == "keys.kek_file"]
    assert "does not open the signing keys in this database" in {each["text"] for each in kek}
    keys = found(result, "signing keys ES256")
    assert ("warning", True) == (keys["mark"], "no standby" in keys["text"])
