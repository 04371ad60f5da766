"""What ``introspection`` of an issuer may say: nothing that sends a token or a secret astray."""

import copy
from typing import Any

import pytest
import yaml

from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings
from tests.configuration import document
from tests.jwts import BROKER_ISSUER, IDP, OTHER

GOOD = {
    "endpoint": "https://idp.test/introspect",
    "client_id": "broker",
    "client_secret_file": "idp.secret",
}
PATH = "issuers[0].introspection"


def load(tmp_path, *, rules: dict[str, Any] | None = None, **introspection: Any) -> Settings:
    """The test configuration, in which the first issuer is asked so; ``None`` leaves a key out."""
    body = copy.deepcopy(document(keys={}, database={}, policy={}, admin={}))
    asked = {name: value for name, value in (GOOD | introspection).items() if value is not None}
    first = body["issuers"][0] | {"introspection": asked} | (rules or {})
    body["issuers"][0] = {name: value for name, value in first.items() if value is not None}
    return load_body(tmp_path, body)


def load_body(tmp_path, body: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(body))
    return load_settings(path, environ or {})


def refusal(tmp_path, **introspection: Any) -> list[str]:
    """Why the broker does not start."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **introspection)
    assert "s3cret" not in str(caught.value)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "introspection",
    [
        pytest.param({}, id="the-least"),
        pytest.param({"tokens": "jwt", "unreachable": "accept"}, id="jwts"),
        pytest.param({"tokens": "all", "prefix": "idp_at_", "cache": "0s"}, id="all"),
        pytest.param({"cache": "30s", "deadline": "3s"}, id="the-longest"),
        pytest.param({"prefix": "v1.at/"}, id="a-prefix-with-a-dot"),
        pytest.param(
            {"endpoint": "http://127.0.0.1:9/i", "allow_private_network": True}, id="loopback"
        ),
    ],
)
def test_the_honest_twins_start(tmp_path, introspection):
    """Each fault below is the only one in its document."""
    found = load(tmp_path, **introspection).issuers[0].introspection

    assert found is not None
    assert tmp_path / "idp.secret" == found.client_secret_file


def test_by_default_it_refuses_and_believes_nothing_for_long(tmp_path):
    """Deny by default."""
    found = load(tmp_path).issuers[0].introspection

    assert ("opaque", None, "refuse", False) == (
        found.tokens,
        found.prefix,
        found.unreachable,
        found.allow_private_network,
    )
    assert (1, 1) == (found.cache.total_seconds(), found.deadline.total_seconds())


@pytest.mark.row("ATK-CFG-01", "ATK-SSRF-01")
@pytest.mark.parametrize(
    ("introspection", "problem"),
    [
        pytest.param({"endpoint": None}, ".endpoint: is required", id="no-endpoint"),
        pytest.param({"endpoint": ""}, ".endpoint: write an https URL", id="empty-endpoint"),
        pytest.param({"endpoint": "http://idp.test/i"}, ".endpoint: write https", id="http"),
        pytest.param({"endpoint": "http://127.0.0.1/i"}, ".endpoint: write https", id="loopback"),
        pytest.param({"endpoint": "file:///etc"}, ".endpoint: write an https URL", id="file"),
        pytest.param({"endpoint": "https://u:p@x.test"}, ".endpoint: write an https", id="user"),
        pytest.param({"endpoint": "https://x.test/#"}, ".endpoint: write the URL w", id="fragment"),
        pytest.param(
            {"endpoint": f"{BROKER_ISSUER}/introspect"}, ".endpoint: is this broker", id="ours"
        ),
        pytest.param(
            {"endpoint": f"{BROKER_ISSUER}:443/introspect/"}, ".endpoint: is this", id="ours-port"
        ),
        pytest.param({"client_id": None}, ".client_id: is required", id="no-client"),
        pytest.param({"client_id": ""}, ".client_id: write at least one char", id="empty-client"),
        pytest.param({"client_secret_file": None}, ": write exactly one of", id="no-secret"),
        pytest.param({"client_secret": "s3cret"}, ".client_secret: write ${NAME}", id="literal"),
        pytest.param(
            {"client_secret": 12345678, "client_secret_file": None},
            ".client_secret: write ${NAME}",
            id="literal-number",
        ),
        pytest.param({"tokens": "refresh"}, ".tokens: write opaque", id="unknown-tokens"),
        pytest.param({"tokens": None, "tokens_": 1}, ".tokens_: is not a known key", id="typo"),
        pytest.param({"prefix": ""}, ".prefix: write 3 to 64", id="empty-prefix"),
        pytest.param({"prefix": "ab"}, ".prefix: write 3 to 64", id="short-prefix"),
        pytest.param({"prefix": "a" * 65}, ".prefix: write 3 to 64", id="long-prefix"),
        pytest.param({"prefix": "eyJ"}, ".prefix: write 3 to 64", id="prefix-of-a-jwt"),
        pytest.param({"prefix": "eyJhbGci"}, ".prefix: write 3 to 64", id="prefix-in-a-jwt"),
        pytest.param({"prefix": "idp*"}, ".prefix: write 3 to 64", id="prefix-glob"),
        pytest.param({"prefix": "idp at"}, ".prefix: write 3 to 64", id="prefix-space"),
        pytest.param({"prefix": "abc", "tokens": "jwt"}, ".prefix: is only for", id="no-opaque"),
        pytest.param({"cache": "31s"}, ".cache: write a duration from 0s to 30s", id="cache"),
        pytest.param({"cache": "-1s"}, ".cache: write a duration", id="negative-cache"),
        pytest.param({"cache": 1}, ".cache: write a duration", id="number-cache"),
        pytest.param({"deadline": "49ms"}, ".deadline: write a duration from 50ms", id="deadline"),
        pytest.param({"deadline": "4s"}, ".deadline: write a duration from 50ms", id="long-wait"),
        pytest.param({"unreachable": "ignore"}, ".unreachable: write refuse", id="unreachable"),
        pytest.param({"unreachable": "accept"}, ".unreachable: accept is only", id="open-opaque"),
        pytest.param(
            {"rules": {"token_types": ["jwt"]}}, ".tokens: an opaque token needs", id="no-at"
        ),
        pytest.param(
            {"rules": {"jwks": None, "algorithms": []}, "tokens": "all"},
            ".tokens: a JWT is asked about",
            id="jwts-without-keys",
        ),
    ],
)
def test_what_could_send_a_token_astray_stops_the_start(tmp_path, introspection, problem):
    """ATK-CFG-01: each with the key, and never with the secret."""
    lines = refusal(tmp_path, **introspection)

    assert any(line.startswith(f"{PATH}{problem}") for line in lines), lines


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        pytest.param({"algorithms": []}, "issuers[0].algorithms: write at least", id="no-alg"),
        pytest.param({"jwks": None}, "issuers[0]: write exactly one of jwks_uri", id="no-keys"),
        pytest.param(
            {"jwks": None, "algorithms": [], "introspection": None},
            "issuers[0]: write exactly one of jwks_uri",
            id="neither-keys-nor-questions",
        ),
    ],
)
def test_only_an_issuer_that_is_asked_may_have_neither_keys_nor_algorithms(
    tmp_path, rules, problem
):
    """RFC 8725 §3.1: an empty list means that no JWT of it is accepted, so it is never a slip."""
    assert any(line.startswith(problem) for line in refusal(tmp_path, rules=rules))
    assert not load(tmp_path, rules={"jwks": None, "algorithms": []}).issuers[0].has_keys


@pytest.mark.row("ATK-CFG-01", "INV-9")
@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        pytest.param(None, "two_", "issuers[0].introspection.prefix: is req", id="first-without"),
        pytest.param("one_", None, "issuers[1].introspection.prefix: is req", id="second-without"),
        pytest.param("one_", "one_", "issuers[1].introspection.prefix: fits", id="the-same"),
        pytest.param("one_", "one_at_", "issuers[1].introspection.prefix: fits", id="longer"),
        pytest.param("one_at_", "one_", "issuers[1].introspection.prefix: fits", id="shorter"),
    ],
)
def test_no_opaque_token_can_be_of_two_issuers(tmp_path, first, second, problem):
    """Invariant 9: a token is shown to its own issuer and to nobody else."""

    def body(*prefixes: str | None) -> dict[str, Any]:
        changed = document(keys={}, database={}, policy={}, admin={})
        for issuer, prefix in zip(changed["issuers"], prefixes, strict=False):
            issuer["introspection"] = GOOD | ({} if prefix is None else {"prefix": prefix})
        return changed

    with pytest.raises(ConfigurationError) as caught:
        load_body(tmp_path, body(first, second))
    assert [True] == [line.startswith(problem) for line in str(caught.value).splitlines()]
    assert (IDP, OTHER) == tuple(
        issuer.issuer for issuer in load_body(tmp_path, body("one_", "two_")).issuers[:2]
    )


def test_an_issuer_that_is_asked_about_jwts_alone_is_in_nobodys_way(tmp_path):
    """Its opaque tokens are nobody's, so another issuer's need no prefix."""
    body = document(keys={}, database={}, policy={}, admin={})
    body["issuers"][0]["introspection"] = GOOD | {"tokens": "jwt"}
    body["issuers"][1]["introspection"] = GOOD

    assert load_body(tmp_path, body)


def test_a_secret_may_be_in_the_environment_and_shows_nowhere(tmp_path):
    """As a reference, or as an override; a repr has none of it."""
    body = document(keys={}, database={}, policy={}, admin={})
    asked = {name: value for name, value in GOOD.items() if name != "client_secret_file"}
    body["issuers"][0]["introspection"] = asked | {"client_secret": "${IDP_SECRET}"}
    referenced = load_body(tmp_path, body, {"IDP_SECRET": "s3cret"})
    body["issuers"][0]["introspection"] = asked
    name = "BROKER_ISSUERS__0__INTROSPECTION__CLIENT_SECRET"
    overridden = load_body(tmp_path, body, {name: "s3cret"})

    for settings in (referenced, overridden):
        introspection = settings.issuers[0].introspection
        assert "s3cret" == introspection.client_secret.get_secret_value()
        assert "s3cret" not in repr(settings)
