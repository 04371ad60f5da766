"""Exactly the configured issuers, each with its own keys."""

import asyncio
import json
import unicodedata

import pytest

from broker.errors import ConfigurationError
from broker.issuers.fetch import FetchFault
from broker.issuers.jwks import REFRESH_INTERVAL, KeysUnavailable
from broker.jose.jwk import KeySet
from broker.settings import TrustedIssuer
from tests.jwts import BROKER_ISSUER, IDP, KEYS, OTHER, public_jwk
from tests.verification import registry

JWKS = {"keys": [public_jwk(KEYS[IDP], kid="k", alg="ES256")]}


def trusted(**settings) -> TrustedIssuer:
    """An issuer with inline keys."""
    source = {} if {"jwks_uri", "jwks_file", "discovery"} & set(settings) else {"jwks": JWKS}
    values = {"issuer": IDP, "alias": "idp", "algorithms": ["ES256"]} | source | settings
    return TrustedIssuer.model_validate(values)


async def nobody(host: str, port: int) -> tuple[str, ...]:
    """A resolver that knows no name."""
    raise OSError(host)


def test_an_issuer_is_found_by_its_exact_name():
    """RFC 8414 §4: code point by code point."""
    one = trusted()

    assert one is registry([one]).find(IDP)


@pytest.mark.row("ATK-ISS-01", "MD-4-01")
@pytest.mark.parametrize(
    "iss",
    [
        pytest.param("https://idp.test/", id="trailing-slash"),
        pytest.param("https://IDP.test", id="case"),
        pytest.param("https://idp.test:443", id="port"),
        pytest.param("https://idp.test@evil.test", id="userinfo"),
        pytest.param("https://idp.test.evil.test", id="suffix"),
        pytest.param("https://idp.test\\evil.test", id="backslash"),
        pytest.param("https://idp.test\t", id="tab"),
        pytest.param("http://idp.test", id="http"),
        pytest.param("https://xn--dp-fja.test", id="punycode"),
        pytest.param("https://\u0131dp.test", id="homograph"),
        pytest.param("https://\uff49dp.test", id="full-width"),
        pytest.param(unicodedata.normalize("NFD", "https://\u00eddp.test"), id="decomposed"),
        pytest.param("", id="empty"),
    ],
)
def test_no_other_spelling_is_that_issuer(iss):
    """ATK-ISS-01: nothing is normalised."""
    assert registry([trusted()]).find(iss) is None


def test_our_own_issuer_is_built_in():
    """Design §4: trusted for all its claims, and only for access tokens typed as such."""
    own = registry([]).find(BROKER_ISSUER)

    assert ("at+jwt",) == own.typ
    assert {"act", "may_act", "max_delegation_depth"} == set(own.asserts)


async def test_each_issuer_has_its_own_keys():
    """JW-09: a key belongs to one issuer."""
    other = public_jwk(KEYS[OTHER], kid="o", alg="ES256")
    issuers = [trusted(), trusted(issuer=OTHER, alias="other", jwks={"keys": [other]})]
    both = registry(issuers)
    kids = [(await both.key_source(each).keys("k", "ES256")).kids for each in issuers]

    assert [{"k"}, {"o"}] == kids


@pytest.mark.parametrize(
    "jwks",
    [
        pytest.param({"keys": [{"kty": "EC"}]}, id="no-usable-key"),
        pytest.param({"keys": [public_jwk(KEYS[IDP], use="enc")]}, id="not-for-signatures"),
    ],
)
def test_inline_keys_that_verify_nothing_are_a_configuration_error(jwks):
    """Before traffic finds out."""
    with pytest.raises(ConfigurationError, match=r"^idp: jwks"):
        registry([trusted(jwks=jwks)])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="not-json"),
        pytest.param(b'{"keys": []}', id="no-key"),
        pytest.param(b" " * 300_000, id="too-large"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_a_configuration_error(tmp_path, content):
    """Naming the issuer and the file."""
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"^idp: jwks_file"):
        registry([trusted(jwks_file=file)])


async def test_a_key_file_is_read_again(tmp_path):
    """A mounted file that changes is a rotation, and a broken one keeps the last good keys."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    now = [0.0]
    one = trusted(jwks_file=file)
    source = registry([one], monotonic=lambda: now[0]).key_source(one)
    first = await source.keys("k", "ES256")
    file.write_text("broken")
    now[0] += REFRESH_INTERVAL
    second = await source.keys("k", "ES256")
    file.write_text(json.dumps({"keys": [public_jwk(KEYS[OTHER], kid="n", alg="ES256")]}))
    now[0] += REFRESH_INTERVAL
    third = await source.keys("n", "ES256")

    assert [{"k"}, {"k"}, {"n"}] == [keys.kids for keys in (first, second, third)]


@pytest.mark.parametrize("content", [None, b"not a certificate"], ids=["missing", "not-pem"])
def test_a_trust_anchor_that_cannot_be_read_is_a_configuration_error(tmp_path, content):
    """Naming the issuer and the file."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"^idp: ca_file"):
        registry([trusted(jwks_uri="https://idp.test/jwks", ca_file=file)])


async def test_an_issuer_that_is_down_is_reported_and_hurts_no_other():
    """Design §9: degraded, and only its own tokens fail."""
    down = trusted(issuer=OTHER, alias="down", jwks_uri="https://down.test/jwks")
    both = registry([trusted(), down], resolve=nobody)
    await both.load_all()
    status = {each.alias: (each.loaded, each.fault) for each in both.status()}

    assert {
        "idp": (True, None),
        "down": (False, FetchFault.NAME_UNKNOWN),
        "self": (True, None),
    } == status
    with pytest.raises(KeysUnavailable):
        await both.key_source(down).keys("k", "ES256")


async def test_a_reload_keeps_what_was_fetched_in_the_same_way():
    """A reload during an outage loses no keys; another URL is another source."""
    first = trusted(jwks_uri="https://idp.test/jwks")
    before = registry([first], resolve=nobody)
    same = registry([trusted(jwks_uri="https://idp.test/jwks", leeway="1s")], previous=before)
    moved = registry([trusted(jwks_uri="https://idp.test/keys")], previous=before)

    assert before.key_source(first) is same.key_source(first)
    assert before.key_source(first) is not moved.key_source(first)


async def test_the_background_task_ends_when_told():
    """And it has tried every issuer by then."""
    tried, stop = asyncio.Event(), asyncio.Event()

    async def noted(host: str, port: int) -> tuple[str, ...]:
        tried.set()
        return await nobody(host, port)

    down = trusted(issuer=OTHER, alias="down", jwks_uri="https://down.test/jwks")
    one = registry([down], resolve=noted)
    task = asyncio.create_task(one.run(stop))
    await asyncio.wait_for(tried.wait(), 1)
    stop.set()
    await asyncio.wait_for(task, 1)
    await one.aclose()


async def test_without_a_key_of_ours_our_tokens_cannot_be_judged():
    """The keyring is not loaded yet: unavailable, and no verdict."""
    one = registry([])
    empty = type(one)([], own=BROKER_ISSUER, own_keys=KeySet)

    with pytest.raises(KeysUnavailable):
        await empty.key_source(empty.find(BROKER_ISSUER)).keys("k", "ES256")


async def test_an_issuer_without_keys_is_not_waited_for():
    """It has opaque tokens alone, so there is nothing to load before a broker is ready."""
    introspection = {"endpoint": "https://idp.test/i", "client_id": "b", "client_secret": "s"}
    values = {"issuer": IDP, "alias": "idp", "algorithms": [], "introspection": introspection}
    one = TrustedIssuer.model_validate(values)
    found = registry([one])
    await found.load_all()

    assert (True, None) == (found.status()[0].loaded, found.status()[0].fault)
    with pytest.raises(KeysUnavailable):
        await found.key_source(one).keys(None, "ES256")
