"""Keys by URI and by discovery, from a server on loopback."""

import time

import pytest

from broker.issuers.fetch import FetchFault
from broker.issuers.jwks import COOLDOWN, REFRESH_INTERVAL, KeysUnavailable
from broker.settings import TrustedIssuer
from tests.jwts import IDP, KEYS, OTHER, public_jwk
from tests.loopback import http_answer, json_answer, loopback
from tests.verification import registry

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


def jwk(kid: str = "k", issuer: str = IDP) -> dict:
    """A public key of one of the test issuers."""
    return public_jwk(KEYS[issuer], kid=kid, alg="ES256")


def jwks(*keys: dict) -> bytes:
    """The answer that holds these keys."""
    return json_answer({"keys": list(keys)})


def source(server, *, clock=None, **settings):
    """The key source of an issuer at that server; by discovery unless it has a URI."""
    issuer = {
        "issuer": server.url(""),
        "alias": "idp",
        "algorithms": ["ES256"],
        "allow_private_network": True,
        "discovery": "jwks_uri" not in settings,
    } | settings
    trusted = TrustedIssuer.model_validate(issuer)
    monotonic = time.monotonic if clock is None else lambda: clock[0]
    return registry([trusted], monotonic=monotonic).key_source(trusted)


async def fault(source) -> FetchFault:
    """Why there are no keys."""
    with pytest.raises(KeysUnavailable) as caught:
        await source.keys("k", "ES256")
    return caught.value.fault


@pytest.mark.row("JW-19")
async def test_keys_come_from_a_uri_and_bad_ones_are_left_out():
    """RFC 7517 §5: one by one; the rest stays usable."""
    broken = [{"kty": "XX"}, {"kty": "EC", "crv": "P-256", "x": "A"}, "x"]
    async with loopback({"/jwks": jwks(*broken, jwk())}) as server:
        keys = await source(server, jwks_uri=server.url("/jwks")).keys("k", "ES256")

    assert {"k"} == keys.kids


@pytest.mark.parametrize("where", [OPENID, OAUTH])
async def test_keys_come_by_discovery(where):
    """RFC 8414 §3, OpenID Discovery §4: whichever of the two documents there is."""
    async with loopback({"/jwks": jwks(jwk())}) as server:
        metadata = {"issuer": server.url(""), "jwks_uri": server.url("/jwks")}
        server.answers[where] = json_answer(metadata)
        keys = await source(server).keys("k", "ES256")

    assert {"k"} == keys.kids


@pytest.mark.row("MD-3.3-01", "ATK-ISS-02")
@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param({"issuer": "https://evil.test"}, "issuer_mismatch", id="another-issuer"),
        pytest.param({"issuer": "{url}/"}, "issuer_mismatch", id="trailing-slash"),
        pytest.param({"issuer": None}, "issuer_mismatch", id="no-issuer"),
        pytest.param({"jwks_uri": None}, "not_metadata", id="no-jwks-uri"),
        pytest.param({"jwks_uri": ["{url}/jwks"]}, "not_metadata", id="jwks-uri-array"),
        pytest.param({"jwks_uri": "http://localhost/jwks"}, "foreign_jwks_uri", id="another-host"),
        pytest.param(
            {"jwks_uri": "http://127.0.0.1:1/jwks"}, "foreign_jwks_uri", id="another-port"
        ),
        pytest.param(
            {"jwks_uri": "https://127.0.0.1/jwks"}, "foreign_jwks_uri", id="another-scheme"
        ),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, "foreign_jwks_uri", id="file"),
        pytest.param({"jwks_uri": "http://[::1"}, "foreign_jwks_uri", id="not-a-url"),
        pytest.param([], "not_metadata", id="not-an-object"),
    ],
)
async def test_metadata_that_is_not_the_issuers_own_is_discarded(metadata, expected):
    """RFC 8414 §3.3, ATK-ISS-02: and its jwks_uri is never asked."""
    async with loopback({"/jwks": jwks(jwk())}) as server:
        if isinstance(metadata, dict):
            url = server.url("")
            good = {"issuer": url, "jwks_uri": server.url("/jwks")}
            metadata = good | {
                name: value.format(url=url) if isinstance(value, str) else value
                for name, value in metadata.items()
            }
        server.answers[OPENID] = json_answer(metadata)

        assert expected == await fault(source(server))
        assert [OPENID] == server.paths


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(jwks(), "no_usable_key", id="empty"),
        pytest.param(http_answer(b"[]"), "not_a_key_set", id="an-array"),
        pytest.param(http_answer(b'{"keys": {}}'), "not_a_key_set", id="keys-is-an-object"),
        pytest.param(http_answer(b"{"), "not_a_key_set", id="broken-json"),
        pytest.param(jwks(*[{}] * 101), "not_a_key_set", id="too-many-keys"),
        pytest.param(http_answer(b"[" * 100_000), "not_a_key_set", id="absurdly-deep"),
        pytest.param(jwks({"kty": "oct", "k": "AA"}, jwk()), "not_a_key_set", id="symmetric"),
        pytest.param(
            http_answer(b'{"keys": [], "keys": []}'), "not_a_key_set", id="repeated-member"
        ),
    ],
)
async def test_what_is_no_key_set_is_a_failure_and_the_last_good_keys_stay(answer, expected):
    """ATK-SSRF-03, drill 6: garbage, and a set that is suddenly empty, are no order to drop all."""
    clock = [0.0]
    async with loopback({"/jwks": jwks(jwk())}) as server:
        cached = source(server, clock=clock, jwks_uri=server.url("/jwks"))
        await cached.keys("k", "ES256")
        server.answers["/jwks"] = answer
        clock[0] += REFRESH_INTERVAL
        stale = await cached.keys("k", "ES256")

        assert ({"k"}, expected) == (stale.kids, cached.fault)
        assert expected == await fault(source(server, jwks_uri=server.url("/jwks")))


async def test_rotation_and_outage_need_nobody():
    """Drill 6: rotated, then down for an hour, then back with yet another key."""
    clock = [0.0]
    async with loopback({"/jwks": jwks(jwk())}) as server:
        cached = source(server, clock=clock, jwks_uri=server.url("/jwks"))
        seen = [(await cached.keys("k", "ES256")).kids]
        for answer, seconds, kid in (
            (jwks(jwk(), jwk("n", OTHER)), COOLDOWN, "n"),
            (http_answer(b"", status="503 Down"), 3600, "n"),
            (jwks(jwk("z", OTHER)), COOLDOWN, "z"),
        ):
            server.answers["/jwks"] = answer
            clock[0] += seconds
            seen.append((await cached.keys(kid, "ES256")).kids)

    assert [{"k"}, {"k", "n"}, {"k", "n"}, {"z"}] == seen
