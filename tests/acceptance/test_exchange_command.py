"""``broker exchange``: at the real broker, at servers that are none, and each exit code."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from typer.testing import CliRunner, Result

from broker.cli import build_app
from tests.configuration import secret
from tests.jwts import BROKER_ISSUER, CLIENT_KEY, actor_jwt, subject_jwt, unverified_claims
from tests.loopback import http_answer, json_answer, loopback
from tests.server import BrokerClient
from tests.unit.cli.rendering import words

ISSUED, REFUSED, COULD_NOT_ASK = 0, 1, 2

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command as ``svc-a``, with a good token, unless told otherwise; None: left out."""
    (tmp_path / "token").write_text(subject_jwt() + "\n")
    (tmp_path / "secret").write_text(secret("svc-a") + "\n")
    defaults = {
        "client_id": "svc-a",
        "client_secret_file": str(tmp_path / "secret"),
        "subject_token_file": str(tmp_path / "token"),
        "audience": "svc-b",
        "scope": "orders.read",
    }

    async def run(endpoint: str | None = None, *flags: str, **options: Any) -> Result:
        given = {"token_endpoint": endpoint, **defaults} | options
        arguments = ["exchange", *flags]
        for name, value in given.items():
            if value is not None:
                arguments += [f"--{name.replace('_', '-')}", str(value)]
        # Apart from this loop, which may be what answers.
        invoke = CliRunner().invoke
        return await asyncio.to_thread(invoke, build_app({"exchange"}), arguments)

    return run


def written(folder: Path, text: str) -> Path:
    file = folder / "written"
    file.write_text(text)
    return file


async def test_what_came_back_stands_beside_what_was_presented(broker: BrokerClient, run: Run):
    """Exit code 0; both tokens are decoded, and neither is printed."""
    result = await run(f"{broker.process.url}/token")

    assert ISSUED == result.exit_code, result.output
    shown = words(result.stdout)
    assert "✓ issued in" in shown
    assert "aud svc-a - svc-a + svc-b" in shown
    assert "act · svc-a" in shown
    assert "scope orders.read" in shown
    assert "request id" in shown
    assert "eyJ" not in result.output
    assert ["issued"] == await broker.audited()


async def test_the_token_alone_is_printed_for_scripts(broker: BrokerClient, run: Run):
    """``--raw``: on standard output nothing but the token."""
    result = await run(f"{broker.process.url}/token", "--raw")

    assert ISSUED == result.exit_code
    assert "svc-b" == unverified_claims(result.stdout.strip())["aud"]


async def test_programs_get_the_whole_answer_as_json(broker: BrokerClient, run: Run):
    """``--format json``: the response as it came, and both tokens decoded, called unverified."""
    result = await run(f"{broker.process.url}/token", "--format", "json")

    answer = json.loads(result.stdout)
    assert (ISSUED, 200) == (result.exit_code, answer["status"])
    assert "Bearer" == answer["response"]["token_type"]
    assert "svc-a" == answer["presented"]["unverified_claims"]["aud"]
    assert "svc-b" == answer["issued"]["unverified_claims"]["aud"]


async def test_an_actor_token_is_sent_with_its_type(broker: BrokerClient, run: Run, tmp_path: Path):
    """RFC 8693 §2.1: who acts is the party of the actor token."""
    result = await run(
        f"{broker.process.url}/token",
        "--raw",
        actor_token_file=written(tmp_path, actor_jwt()),
    )

    assert ISSUED == result.exit_code, result.output
    assert "batch" == unverified_claims(result.stdout)["act"]["sub"]


@pytest.mark.parametrize(
    ("client_id", "method"), [("svc-a", None), ("svc-post", "client_secret_post")]
)
async def test_each_method_of_authentication_by_secret(
    broker: BrokerClient, run: Run, tmp_path: Path, client_id: str, method: str | None
):
    """RFC 6749 §2.3.1: by header, or in the form."""
    result = await run(
        f"{broker.process.url}/token",
        client_id=client_id,
        client_secret_file=written(tmp_path, secret(client_id)),
        auth_method=method,
        subject_token_file=token_for(tmp_path, client_id),
    )

    assert ISSUED == result.exit_code, result.output


async def test_authentication_by_private_key(broker: BrokerClient, run: Run, tmp_path: Path):
    """RFC 7523: the assertion is for the issuer, where that was named."""
    result = await run(
        f"{broker.process.url}/token",
        client_id="svc-jwt",
        client_secret_file=None,
        private_key_file=private_key(tmp_path),
        assertion_audience=BROKER_ISSUER,
        subject_token_file=token_for(tmp_path, "svc-jwt"),
    )

    assert ISSUED == result.exit_code, result.output


def token_for(folder: Path, client_id: str) -> Path:
    file = folder / f"token-of-{client_id}"
    file.write_text(subject_jwt(aud=client_id))
    return file


def private_key(folder: Path, password: bytes | None = None) -> Path:
    file = folder / "key.pem"
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    file.write_bytes(CLIENT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return file


@pytest.mark.parametrize(
    ("options", "error", "remedy"),
    [
        pytest.param({"scope": "orders.write"}, "invalid_scope", "--scope", id="scope-not-held"),
        pytest.param({"audience": "svc-x"}, "invalid_target", "--audience", id="unknown-target"),
        pytest.param({"client_id": "svc-x"}, "invalid_client", "--client-id", id="who-is-that"),
        pytest.param(
            {"subject_token_type": "saml2"}, "invalid_request", "subject token", id="saml"
        ),
        pytest.param(
            {"requested_token_type": "refresh_token"}, "invalid_request", "→", id="refresh-token"
        ),
    ],
)
async def test_a_refusal_says_what_can_be_done(
    broker: BrokerClient, run: Run, options: dict[str, Any], error: str, remedy: str
):
    """Exit code 1; the error as the server said it, what was presented, and what to look at."""
    result = await run(f"{broker.process.url}/token", **options)

    assert REFUSED == result.exit_code, result.output
    said = words(result.stderr)
    assert f"✗ refused: {error}" in said
    assert remedy in said.partition(f"refused: {error}")[2]
    assert "" == result.stdout
    assert "eyJ" not in result.output


async def test_the_endpoint_is_found_by_the_metadata(run: Run):
    """RFC 8414 §3: from the issuer alone, which must call itself so."""
    async with loopback() as server:
        issuer = server.url("/tenant")
        server.answers["/.well-known/oauth-authorization-server/tenant"] = json_answer(
            {"issuer": issuer, "token_endpoint": server.url("/t")}
        )
        server.answers["/t"] = json_answer({"error": "invalid_scope"}, status="400 Bad Request")

        found = await run(issuer=issuer)
        mistaken = await run(issuer=f"{issuer}/")

    assert REFUSED == found.exit_code, found.output
    assert COULD_NOT_ASK == mistaken.exit_code
    assert "speaks for another issuer" in words(mistaken.stderr)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        pytest.param(
            json_answer({"error": "temporarily_unavailable"}, status="503 Busy"),
            COULD_NOT_ASK,
            "try again",
            id="busy",
        ),
        pytest.param(
            json_answer({"error": "temporarily_unavailable"}, status="429 Slow"),
            COULD_NOT_ASK,
            "try again",
            id="throttled",
        ),
        pytest.param(
            http_answer(b"<h1>503", status="503 No server", content_type="text/html"),
            COULD_NOT_ASK,
            "is busy (503)",
            id="a-load-balancer-is-busy",
        ),
        pytest.param(
            http_answer(b"", status="302 Found", location="/"),
            COULD_NOT_ASK,
            "redirects, and tokens do not follow",
            id="redirect",
        ),
        pytest.param(
            http_answer(b"<p>hello", content_type="text/html"),
            COULD_NOT_ASK,
            "not with a JSON object",
            id="a-web-page",
        ),
        pytest.param(json_answer({}), COULD_NOT_ASK, "neither access_token nor error", id="empty"),
        pytest.param(http_answer(b" " * 2_000_000), COULD_NOT_ASK, "more than 1 MiB", id="endless"),
        pytest.param(
            json_answer({"access_token": "opaque"}), ISSUED, "is opaque", id="opaque-token"
        ),
        pytest.param(
            json_answer({"error": "\x1b[2Jinvalid"}, status="400 Bad Request"),
            REFUSED,
            "refused",
            id="hostile-text",
        ),
    ],
)
async def test_any_server_s_answer_is_understood(run: Run, answer: bytes, code: int, said: str):
    """Also one that is no authorization server; nothing that it says reaches the terminal raw."""
    async with loopback({"/token": answer}) as server:
        result = await run(server.url("/token"))

    assert code == result.exit_code, result.output
    assert said in words(result.output)
    assert "\x1b" not in result.output


@pytest.mark.parametrize("retries", [0, 3])
async def test_a_server_that_is_busy_for_a_moment_is_asked_again(run: Run, retries: int):
    """Whoever says so, the server or what stands before it; unless nobody wants to wait."""
    answers = iter(
        [
            http_answer(b"<h1>503", status="503 No server", content_type="text/html"),
            json_answer({"error": "temporarily_unavailable"}, status="429 Slow", retry_after="0"),
            json_answer({"access_token": "opaque"}),
        ]
    )
    async with loopback({"/token": lambda: next(answers)}) as server:
        result = await run(server.url("/token"), "--raw", retries=retries)

    assert len(server.paths) == (3 if retries else 1)
    assert (COULD_NOT_ASK if retries == 0 else ISSUED) == result.exit_code, result.output
    assert ("opaque" if retries else "") == result.stdout.strip()
    assert result.stderr.count("asking again in") == (2 if retries else 0)


async def test_a_server_that_wants_to_be_left_alone_for_longer_than_patience_is(run: Run):
    """Waiting until then would be no use, and asking before then no help."""
    busy = json_answer({"error": "temporarily_unavailable"}, status="429 Slow", retry_after="60")
    async with loopback({"/token": busy}) as server:
        result = await run(server.url("/token"), patience=5)

    assert (COULD_NOT_ASK, 1) == (result.exit_code, len(server.paths)), result.output
    assert "try again in 60 s" in words(result.stderr)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"endpoint": None}, "name --token-endpoint, or --issuer", id="nowhere"),
        pytest.param({"endpoint": "http://127.0.0.1:9/token"}, "nothing answers", id="nobody"),
        pytest.param(
            {"endpoint": "http://broker.example/token"}, "unencrypted", id="plain-http-elsewhere"
        ),
        pytest.param({"endpoint": "token"}, "no URL of a server", id="no-url"),
        pytest.param({"client_id": None}, "the client has no name", id="no-client-id"),
        pytest.param({"client_secret_file": "/nowhere"}, "cannot be read", id="no-secret-file"),
        pytest.param(
            {"client_secret_file": None, "client_secret_env": "NO_SUCH_VARIABLE"},
            "is not set",
            id="no-secret-variable",
        ),
        pytest.param(
            {"client_secret_file": None, "auth_method": "client_secret_basic"},
            "needs --client-secret-file",
            id="no-secret-for-basic",
        ),
        pytest.param({"private_key_file": "/nowhere"}, "give one of them", id="secret-and-key"),
        pytest.param(
            {"private_key_file": "/nowhere", "client_secret_file": None},
            "cannot be read",
            id="no-key-file",
        ),
        pytest.param({"subject_token_file": "/nowhere"}, "cannot be read", id="no-token-file"),
        pytest.param({"subject_token_file": "/dev/null"}, "is empty", id="empty-token-file"),
        pytest.param({"ca_file": "/dev/null"}, "no certificate", id="no-certificate"),
    ],
)
async def test_what_cannot_be_asked_is_said(run: Run, options: dict[str, Any], said: str):
    """Exit code 2, what is missing or wrong, and what to write; as JSON too."""
    given = {"endpoint": "http://127.0.0.1:9/token"} | options
    endpoint = given.pop("endpoint")

    result = await run(endpoint, **given)
    as_json = await run(endpoint, "--format", "json", **given)

    assert [COULD_NOT_ASK, COULD_NOT_ASK] == [result.exit_code, as_json.exit_code], result.output
    assert said in words(result.stderr)
    assert {"could_not_ask", "remedy"} == json.loads(as_json.stdout).keys()


async def test_a_key_with_a_password_is_not_guessed_at(run: Run, tmp_path: Path):
    """The command says that it takes none, and how one is made."""
    result = await run(
        "http://127.0.0.1:9/token",
        client_secret_file=None,
        private_key_file=private_key(tmp_path, b"password"),
    )

    assert COULD_NOT_ASK == result.exit_code
    assert "no unencrypted private key" in words(result.stderr)


async def test_the_secret_is_read_from_a_variable(
    broker: BrokerClient, run: Run, monkeypatch: pytest.MonkeyPatch
):
    """Where a file is in the way: CI systems give secrets so."""
    monkeypatch.setenv("CLIENT_SECRET", secret("svc-a"))

    result = await run(
        f"{broker.process.url}/token", client_secret_file=None, client_secret_env="CLIENT_SECRET"
    )

    assert ISSUED == result.exit_code, result.output


async def test_help_tells_what_one_needs_to_know(run: Run):
    """What it prints, where secrets come from, the exit codes, and an example."""
    result = await run(None, "--help")

    shown = words(result.stdout.replace("│", ""))
    assert 0 == result.exit_code
    for part in (
        "nothing in them is verified here",
        "Secrets are read from files and variables",
        "0 issued, 1 refused, 2 could not ask",
        "--subject-token-file token",
    ):
        assert part in shown
