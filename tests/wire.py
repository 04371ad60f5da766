"""What goes over the wire: the form of an exchange, and what every refusal looks like."""

from typing import Any

import httpx

from tests.configuration import secret
from tests.jwts import subject_jwt

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Form = list[tuple[str, str]]


def exchange_form(**overrides: Any) -> Form:
    """A good request; ``None`` leaves a parameter out, a list repeats it."""
    parameters: dict[str, Any] = {
        "grant_type": GRANT_TYPE,
        "subject_token": None,
        "subject_token_type": JWT,
        "audience": "svc-b",
        "scope": "orders.read",
    }
    if "subject_token" not in overrides:
        parameters["subject_token"] = subject_jwt()
    form: Form = []
    for name, value in (parameters | overrides).items():
        values = value if isinstance(value, list) else [value]
        form += [(name, item) for item in values if item is not None]
    return form


def basic(client_id: str = "svc-a") -> tuple[str, str]:
    """The credentials of a client of the test configuration."""
    return client_id, secret(client_id)


def assert_refused(response: httpx.Response, error: str, status: int = 400) -> str:
    """Check all that every refusal shares, and return its description. RFC 6749 §5.2."""
    body = response.json()

    assert (status, error) == (response.status_code, body.get("error")), response.text
    assert {"error", "error_description"} == set(body)
    assert "application/json" == response.headers["content-type"]
    assert "no-store" in response.headers["cache-control"]
    assert "no-cache" == response.headers["pragma"]
    description = body["error_description"]
    assert all(0x20 <= ord(c) <= 0x7E and c not in '"\\' for c in description), (
        "RFC 6749 §5.2 charset"
    )
    return description


def assert_issued(response: httpx.Response) -> dict[str, Any]:
    """Check all that every issued token's answer shares, and return it. RFC 8693 §2.2.1."""
    assert 200 == response.status_code, response.text
    assert "application/json" == response.headers["content-type"]
    assert "no-store" in response.headers["cache-control"]
    assert "no-cache" == response.headers["pragma"]
    body = response.json()
    members = {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
    assert members == set(body)
    assert "Bearer" == body["token_type"]
    assert isinstance(body["expires_in"], int)
    assert body["expires_in"] >= 1
    return body
