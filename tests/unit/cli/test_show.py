"""What the demo's show says: the meaning of each part, whatever its layout."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.cli.show import (
    Next,
    Recorded,
    print_audit,
    print_exchange,
    print_next,
    print_refusal,
    render_curl,
)
from broker.demo.story import Ask, Hop
from broker.oauth import OAuthError
from tests.jwts import CLIENT_KEY, jwt
from tests.unit.cli.rendering import printed, words

PRESENTED = {"sub": "alice", "aud": "checkout", "scope": "orders.write profile", "iat": 0}
ISSUED = {"sub": "demo:alice", "aud": "inventory", "scope": "stock.read", "iat": 0, "exp": 120}


def hop(**overrides: Any) -> Hop:
    values: dict[str, Any] = {
        "title": "checkout exchanges it",
        "why": "Fewer scopes.",
        "ask": Ask("checkout", "inventory", "stock.read"),
        "expected": None,
        "presented": jwt(PRESENTED | {"exp": 3600}, key=CLIENT_KEY),
        "status": 200,
        "body": {"access_token": jwt(ISSUED | {"act": {"sub": "checkout"}}, key=CLIENT_KEY)},
    }
    return Hop(**values | overrides)


def refusal(**overrides: Any) -> Hop:
    body = {"error": "invalid_scope", "error_description": "Not held by the subject token."}
    return hop(
        **{"title": "a scope it never held", "status": 400, "body": body}
        | {"expected": OAuthError.INVALID_SCOPE}
        | overrides
    )


@pytest.mark.parametrize("width", [80, 110])
def test_an_exchange_shows_what_was_narrowed(width: int):
    """Audience, scopes and life, who acts, and what a new scope follows from."""
    sources = {"stock.read": "orders.write"}
    text = printed(lambda c: print_exchange(c, hop(), ("presented", "issued"), sources), width)

    assert all(len(line) <= width for line in text.splitlines())
    shown = words(text)
    assert "- orders.write" in shown
    assert "+ stock.read from orders.write" in shown
    assert "aud checkout - checkout + inventory" in shown
    assert "act · checkout" in shown
    assert "1 h" in shown
    assert "2 min" in shown


def test_no_token_is_printed_whole():
    """Tokens are shown decoded: who looks over a shoulder cannot use them."""
    text = printed(lambda c: print_exchange(c, hop(), ("presented", "issued"), {}), 200)

    assert "eyJ" not in text


def test_a_refusal_shows_its_oauth_error():
    """Who asked for what, the status, the code and the text, as the broker sent them."""
    text = words(printed(lambda c: print_refusal(c, refusal())))

    assert "✓ a scope it never held" in text
    assert "checkout asks for stock.read at inventory" in text
    assert "400 invalid_scope Not held by the subject token." in text


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"body": {"error": "server_error"}, "status": 500}, id="another-error"),
        pytest.param({"body": {"access_token": "opaque"}, "status": 200}, id="a-token"),
    ],
)
def test_a_refusal_that_is_another_is_shown_as_a_fault(wrong: dict[str, Any]):
    """The show does not claim a success that did not happen."""
    assert "✗ not as expected" in printed(lambda c: print_refusal(c, refusal(**wrong)))


def test_an_exchange_that_failed_shows_the_answer():
    """A newcomer whose first exchange is refused sees why."""
    failed = hop(status=503, body={"error": "temporarily_unavailable", "error_description": "x"})
    text = words(printed(lambda c: print_exchange(c, failed, ("presented", "issued"), {})))

    assert "503 temporarily_unavailable" in text


def test_a_row_of_the_audit_trail_is_one_line():
    """In 80 columns too, with the longest reason there is in the story."""
    row = Recorded(
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        client="inventory",
        target="inventory",
        subject="alice",
        actors=("inventory", "checkout"),
        outcome="subject_token.audience_mismatch",
        refused=True,
        request_id="r",
        derived={},
    )
    lines = printed(lambda c: print_audit(c, [row])).splitlines()

    (line,) = [line for line in lines if "✗" in line]
    assert line.split() == [
        *(f"{row.at.astimezone():%H:%M:%S}", "inventory", "inventory", "alice"),
        *("✗", "subject_token.audience_mismatch"),
    ]
    assert "inventory for checkout" in printed(lambda c: print_audit(c, [row]), 110)


def following(folder: Path) -> Next:
    return Next(
        checkpoints=folder / "checkpoints.txt",
        broker="http://127.0.0.1:8080",
        issuer="http://127.0.0.1:9400",
        secret_file=folder / "checkout.secret",
        configuration=folder / "broker.yaml",
        policies=folder / "policies",
        program="broker",
    )


def test_what_is_to_be_pasted_is_not_wrapped(tmp_path: Path):
    """A line that the terminal broke would be two commands."""
    what = following(tmp_path / ("deep" * 40))

    text = printed(lambda c: print_next(c, what), 80)

    pasted = {line.strip() for line in text.splitlines()}
    assert {line.strip() for line in render_curl(what).splitlines()} <= pasted


def test_the_curl_line_is_one_command_of_any_shell(tmp_path: Path):
    """Also where the path of the secret has spaces and quotes in it."""
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "checkout.secret").write_text("s3cret")
    script = f"curl() {{ printf '%s\\n' \"$@\"; }}\n{render_curl(following(folder))}"

    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    assert "checkout:s3cret" in told.stdout.splitlines()
    assert ["-s", "http://127.0.0.1:8080/token"] == told.stdout.splitlines()[:2]
    assert "scope=inventory.read" == told.stdout.splitlines()[-1]
    assert "" == told.stderr
