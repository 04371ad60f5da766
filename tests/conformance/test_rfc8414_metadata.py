"""RFC 8414, RFC 7517: what the broker says of itself, and with which keys it signs."""

import pytest

from tests.jwts import BROKER_ISSUER
from tests.wire import assert_issued, basic, exchange_form

METADATA = "/.well-known/oauth-authorization-server"
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


@pytest.mark.row(
    *("MD-2-01", "MD-2-02", "MD-2-03", "MD-2-04", "MD-2-05", "MD-2-06", "MD-2-07", "MD-3-02"),
    *("PR-03", "D-05", "OA-3.2-01"),
)
async def test_s2_metadata_says_what_is_offered_and_nothing_else(broker):
    """RFC 8414 §2: explicit lists, no empty ones, and nothing of an authorization endpoint."""
    response = await broker.get(METADATA)
    document = response.json()

    assert 200 == response.status_code
    assert "application/json" == response.headers["content-type"]
    assert BROKER_ISSUER == document["issuer"]
    assert f"{BROKER_ISSUER}/token" == document["token_endpoint"]
    assert f"{BROKER_ISSUER}/.well-known/jwks.json" == document["jwks_uri"]
    assert ["none"] == document["response_types_supported"]
    assert ["urn:ietf:params:oauth:grant-type:token-exchange"] == document["grant_types_supported"]
    assert f"{BROKER_ISSUER}/introspect" == document["introspection_endpoint"]
    assert f"{BROKER_ISSUER}/revoke" == document["revocation_endpoint"]
    for endpoint in ("token", "introspection", "revocation"):
        assert {"client_secret_basic", "client_secret_post", "private_key_jwt"} == set(
            document[f"{endpoint}_endpoint_auth_methods_supported"]
        )
        algorithms = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert "none" not in algorithms
        assert "RS256" in algorithms
    assert [] not in document.values()
    assert not {
        "authorization_endpoint",
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
    } & set(document)


@pytest.mark.row("MD-2-06", "MD-2-07")
@pytest.mark.parametrize("endpoint", ["token", "introspection", "revocation"])
async def test_s2_each_endpoint_that_is_listed_is_there(broker, endpoint):
    """RFC 8414 §2: at its own URL, and it asks for credentials by the methods that are listed."""
    document = (await broker.get(METADATA)).json()
    path = document[f"{endpoint}_endpoint"].removeprefix(BROKER_ISSUER)
    form = exchange_form(token="x")
    unlisted = await broker.request(
        "POST", path, data=form, headers={"authorization": "Digest username=svc-a"}
    )
    listed = await broker.request("POST", path, data=form, auth=basic())

    assert (401, 200) == (unlisted.status_code, listed.status_code)


@pytest.mark.row("MD-3-03")
async def test_s5_openid_configuration_says_the_same(broker):
    """RFC 8414 §5: for readers that know no other address."""
    documents = [
        (await broker.get(path)).json() for path in (METADATA, "/.well-known/openid-configuration")
    ]

    assert documents[0] == documents[1]


@pytest.mark.row("MD-3-02", "SB-4.12-01", "TX-6-01")
@pytest.mark.parametrize(
    "path",
    [
        METADATA + "/",
        METADATA + "/other",
        "/token/",
        "//token",
        "/",
        "/.well-known/jwks.json/",
        "/TOKEN",
        "/introspect/",
        "/revoke/",
        "/Introspect",
    ],
)
async def test_s3_unknown_paths_are_404_and_nothing_redirects(broker, path):
    """RFC 9700 §4.12: a redirect would repeat the body with its credentials."""
    response = await broker.request("POST", path, data=exchange_form())

    assert 404 == response.status_code


@pytest.mark.row("MD-3-02")
@pytest.mark.parametrize("path", [METADATA, "/.well-known/jwks.json"])
async def test_s3_1_metadata_is_read_by_get(broker, path):
    """RFC 8414 §3.1."""
    assert 405 == (await broker.request("POST", path)).status_code


@pytest.mark.row("ATK-HTTP-01")
async def test_s3_the_host_header_changes_nothing(broker):
    """RFC 8414 §2: the issuer is configuration."""
    response = await broker.get(METADATA, headers={"host": "evil.example"})

    assert "evil.example" not in response.text


@pytest.mark.row("JK-01", "OP-03", "D-15")
async def test_rfc_7517_the_keys_are_public_and_cacheable(broker):
    """RFC 7517 §5: use, alg and a unique kid on each; an ETag that answers 304."""
    response = await broker.get("/.well-known/jwks.json")
    keys = response.json()["keys"]

    assert "public, max-age=300, must-revalidate" == response.headers["cache-control"]
    assert response.headers["content-type"] in {"application/json", "application/jwk-set+json"}
    assert len(keys) == len({key["kid"] for key in keys})
    assert {"sig"} == {key["use"] for key in keys}
    assert all("alg" in key and not PRIVATE_MEMBERS & set(key) for key in keys)
    again = await broker.get(
        "/.well-known/jwks.json", headers={"if-none-match": response.headers["etag"]}
    )
    assert (304, b"") == (again.status_code, again.content)


@pytest.mark.row("JK-01")
async def test_a_standby_key_is_always_published(broker):
    """Ours: per algorithm in use, so that a rotation never surprises a verifier."""
    keys = (await broker.get("/.well-known/jwks.json")).json()["keys"]
    by_algorithm = {alg: [k for k in keys if k["alg"] == alg] for alg in {k["alg"] for k in keys}}

    assert {"ES256", "RS256", "Ed25519"} == set(by_algorithm)
    assert all(len(published) >= 2 for published in by_algorithm.values())


@pytest.mark.row("OA-H-02")
async def test_security_headers_are_there_and_cors_is_not(broker):
    """Ours: nothing here is for browsers."""
    response = await broker.exchange(headers={"origin": "https://evil.example"})

    assert_issued(response)
    assert "nosniff" == response.headers["x-content-type-options"]
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.row("OA-H-02", "OA-H-03")
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "HEAD"])
async def test_other_methods_do_nothing(broker, method):
    """Ours: no method but POST reaches the exchange, whatever an override header says."""
    response = await broker.request(method, "/token", headers={"x-http-method-override": "POST"})

    assert response.status_code in {400, 404, 405}


@pytest.mark.row("OP-09")
@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/admin/status"])
async def test_the_admin_paths_are_not_public(broker, path):
    """Ours: they answer on the admin listener alone."""
    assert 404 == (await broker.get(path)).status_code


async def test_ready_names_what_it_stands_on(broker):
    """Design §9: keys, policy, database and issuers."""
    response = await broker.admin("/health/ready")

    assert 200 == response.status_code
    assert {"keys", "policy", "database", "issuers"} <= set(response.json()["checks"])


async def test_metrics_count_outcomes_without_client_values(broker):
    """Design §7: labels come from closed sets."""
    await broker.exchange(exchange_form(audience="canary-audience"))
    text = (await broker.admin("/metrics")).text

    assert 'reason="target.unknown"' in text
    assert "canary-audience" not in text
