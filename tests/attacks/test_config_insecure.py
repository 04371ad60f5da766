"""Attack: get an operator to start the broker with a configuration that gives tokens away."""

import copy

import pytest

from broker.errors import ConfigurationError
from broker.settings import load_settings
from tests.configuration import document
from tests.jwts import BROKER_ISSUER, CLIENT_KEY, IDP, KEYS, OTHER, public_jwk

KEY_SET = {"keys": [public_jwk(CLIENT_KEY)]}
SHA256_OF_NOTHING = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def change(where, value):
    """The test configuration with one value replaced; ``None`` in the path's list appends."""
    changed = copy.deepcopy(document(keys={}, database={}, policy={}, admin={}))
    place = changed
    for part in where[:-1]:
        place = place[part]
    if value is ...:
        del place[where[-1]]
    elif where[-1] is None:
        place.append(value)
    else:
        place[where[-1]] = value
    return changed


def load(tmp_path, changed):
    """Load a document as the broker would, without an environment."""
    import yaml

    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(changed))
    return load_settings(path, {})


def refusal(tmp_path, changed):
    """Why the broker does not start."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, changed)
    return str(caught.value).splitlines()


def case(where, value, problem, id):  # noqa: A002 — pytest's name for it
    """One insecure value, and the start of what is said about it."""
    return pytest.param(where, value, problem, id=id)


def assert_refused(tmp_path, where, value, problem):
    lines = refusal(tmp_path, change(where, value))
    assert any(line.startswith(problem) for line in lines), lines


def test_the_honest_twin_starts(tmp_path):
    """Each fault below is the only one in its document."""
    assert BROKER_ISSUER == load(tmp_path, change(["max_targets"], 3)).issuer


@pytest.mark.row("ATK-CFG-01", "OA-3.2-01", "MD-2-01")
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param("http://broker.example", "write https", id="http"),
        pytest.param("http://127.0.0.1.evil.example", "write https", id="http-lookalike"),
        pytest.param("http://localhost.evil.example", "write https", id="http-localhost-prefix"),
        pytest.param("http://0.0.0.0", "write https", id="http-any-address"),
        pytest.param("http://[::2]", "write https", id="http-other-ipv6"),
        pytest.param("https://broker.test?tenant=1", "write the issuer without a q", id="query"),
        pytest.param("https://broker.test?", "write the issuer without a q", id="empty-query"),
        pytest.param("https://broker.test#x", "write the URL without a fragment", id="fragment"),
        pytest.param("https://broker.test#", "write the URL without a fragment", id="empty-frag"),
        pytest.param("https://broker.test/", "write our issuer without a slash", id="slash"),
        pytest.param("https://u:p@broker.test", "write an https URL", id="credentials"),
        pytest.param("https://good@evil.test", "write an https URL", id="user"),
        pytest.param("https://broker.test\n", "write an https URL", id="newline"),
        pytest.param("https://bro\tker.test", "write an https URL", id="tab"),
        pytest.param("https://broker.test\\@evil", "write an https URL", id="backslash"),
        pytest.param("https://br\u043eker.test", "write an https URL", id="homograph"),
        pytest.param("https://", "write an https URL", id="no-host"),
        pytest.param("broker.test", "write an https URL", id="no-scheme"),
        pytest.param("ftp://broker.test", "write an https URL", id="ftp"),
        pytest.param("https://broker.test:0", "write an https URL", id="port-0"),
        pytest.param("https://broker.test:99999", "write an https URL", id="port-out-of-range"),
        pytest.param("https://*.test", "write the exact issuer", id="wildcard"),
        pytest.param("", "write an https URL", id="empty"),
        pytest.param(None, "write text", id="null"),
        pytest.param(42, "write text", id="number"),
    ],
)
@pytest.mark.parametrize("key", ["issuer", "issuers[0].issuer"])
def test_an_issuer_is_one_https_url(tmp_path, key, value, problem):
    """ATK-CFG-01, ATK-ISS-01: no spelling that somebody could take for another one."""
    if key != "issuer" and value == "https://broker.test/":
        problem = "is our own issuer"
    where = ["issuer"] if key == "issuer" else ["issuers", 0, "issuer"]
    assert_refused(tmp_path, where, value, f"{key}: {problem}")


@pytest.mark.row("ATK-CFG-01")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8:8080", "[::1]:8080"])
def test_plain_http_is_for_loopback(tmp_path, host):
    """A newcomer starts without certificates, and nobody else does."""
    assert f"http://{host}" == load(tmp_path, change(["issuer"], f"http://{host}")).issuer


@pytest.mark.row("ATK-CFG-01", "JW-05", "JW-23")
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param(..., "issuers[0].algorithms: is required", id="missing"),
        pytest.param([], "issuers[0].algorithms: write at least one", id="empty"),
        pytest.param(None, "issuers[0].algorithms: write a list", id="null"),
        pytest.param("ES256", "issuers[0].algorithms: write a list", id="text"),
        pytest.param(["none"], "issuers[0].algorithms[0]: write RS256", id="none"),
        pytest.param(["ES256", "HS256"], "issuers[0].algorithms[1]: write RS256", id="hs256"),
        pytest.param(["HS512"], "issuers[0].algorithms[0]: write RS256", id="hs512"),
        pytest.param(["es256"], "issuers[0].algorithms[0]: write RS256", id="case"),
        pytest.param(["ES256K"], "issuers[0].algorithms[0]: write RS256", id="es256k"),
        pytest.param(["RSA1_5"], "issuers[0].algorithms[0]: write RS256", id="rsa1_5"),
        pytest.param(["*"], "issuers[0].algorithms[0]: write RS256", id="wildcard"),
    ],
)
def test_algorithms_are_listed_and_asymmetric(tmp_path, value, problem):
    """RFC 8725 §3.1: no default, no ``none``, no shared secret."""
    assert_refused(tmp_path, ["issuers", 0, "algorithms"], value, problem)


ISSUER_CASES = [
    case(["issuers", 1, "issuer"], IDP, "issuers[1].issuer: is the same as", "issuer-twice"),
    case(["issuers", 1, "issuer"], f"{IDP}/", "issuers[1].issuer: is the same as", "but-a-slash"),
    case(["issuers", 1, "issuer"], "https://IDP.test", "issuers[1].issuer: is the same", "case"),
    case(["issuers", 1, "issuer"], f"{IDP}:443", "issuers[1].issuer: is the same as", "but-a-port"),
    case(["issuers", 1, "issuer"], BROKER_ISSUER, "issuers[1].issuer: is our own", "ours"),
    case(
        ["issuers", 1, "issuer"], f"{BROKER_ISSUER}:443", "issuers[1].issuer: is our", "ours-port"
    ),
    case(["issuers", 1, "alias"], "idp", "issuers[1].alias: is the same as", "alias-twice"),
    case(["issuers", 1, "alias"], "a:b", "issuers[1].alias: write 1 to 255", "alias-colon"),
    case(["issuers", 1, "alias"], "self", "issuers[1].alias: is what our own", "alias-self"),
    case(["issuers", 1, "alias"], "", "issuers[1].alias: write 1 to 255", "alias-empty"),
    case(["issuers", 0, "subject"], "keep", "issuers[3].subject: is the same as", "two-keep"),
    case(["issuers", 0, "leeway"], "61s", "issuers[0].leeway: write a duration", "leeway"),
    case(["issuers", 0, "leeway"], 30, "issuers[0].leeway: write a duration", "leeway-number"),
    case(["issuers", 0, "leeway"], "-5s", "issuers[0].leeway: write a duration", "leeway-minus"),
    case(["issuers", 0, "max_age"], "0s", "issuers[0].max_age: write a duration", "max-age-zero"),
    case(["issuers", 0, "jwks_uri"], "https://x.test", "issuers[0]: write exactly one", "two-keys"),
    case(["issuers", 0, "discovery"], True, "issuers[0]: write exactly one", "keys-discovery"),
    case(["issuers", 0, "jwks_file"], "keys", "issuers[0]: write exactly one", "keys-and-file"),
    case(["issuers", 0, "jwks"], ..., "issuers[0]: write exactly one", "no-keys"),
    case(["issuers", 0, "jwks"], {"keys": []}, "issuers[0].jwks: write {keys", "empty-set"),
    case(["issuers", 0, "jwks"], {}, "issuers[0].jwks: write {keys", "no-set"),
    case(
        ["issuers", 0, "jwks", "keys", None],
        {"kty": "oct", "k": "AA"},
        "issuers[0].jwks: write p",
        "oct",
    ),
    case(["issuers", 0, "jwks", "keys", 0, "d"], "AA", "issuers[0].jwks: write public", "private"),
    case(["issuers", 0, "ca_file"], "ca.pem", "issuers[0].ca_file: is only for", "ca-for-nothing"),
    case(["issuers", 0, "audiences"], ["*"], "issuers[0].audiences[0]: write the exact", "aud-any"),
    case(["issuers", 0, "audiences"], [""], "issuers[0].audiences[0]: write 1 to", "aud-empty"),
    case(["issuers", 0, "audiences"], ["svc-b"], "issuers[0].audiences[0]: names a", "aud-target"),
    case(["issuers", 0, "audiences"], ["svc-jwt"], "issuers[0].audiences[0]: names", "aud-client"),
    case(["issuers", 0, "clients"], ["nobody"], "issuers[0].clients[0]: is no client", "client"),
    case(["issuers", 0, "clients"], ["svc-*"], "issuers[0].clients[0]: write 1 to", "client-glob"),
    case(["issuers", 0, "clients"], ["*", "svc-a"], "issuers[0].clients: write ['*']", "any-and"),
    case(["issuers", 0, "clients"], [], "issuers[0].clients: write at least one", "no-clients"),
    case(["issuers", 0, "typ"], [], "issuers[0].typ: write at least one", "no-typ"),
    case(["issuers", 0, "token_types"], [], "issuers[0].token_types: write at", "no-types"),
    case(
        ["issuers", 0, "token_types"],
        ["refresh_token"],
        "issuers[0].token_types[0]: write urn",
        "type",
    ),
    case(["issuers", 0, "asserts"], ["scope"], "issuers[0].asserts[0]: write act", "asserts"),
    case(["issuers", 0, "verify"], False, "issuers[0].verify: is not a known key", "unknown-key"),
]


@pytest.mark.row("ATK-CFG-01", "JW-16", "CA-J-01", "AT-H-04", "ATK-ISS-03")
@pytest.mark.parametrize(("where", "value", "problem"), ISSUER_CASES)
def test_an_issuer_that_is_not_safe_stops_the_start(tmp_path, where, value, problem):
    """Invariants 6 and 9: nothing of one issuer passes for another's, or as meant for us."""
    assert_refused(tmp_path, where, value, problem)


@pytest.mark.row("ATK-CFG-01", "ATK-SSRF-01")
@pytest.mark.parametrize("party", ["issuers", "clients"])
@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        pytest.param({"jwks_uri": "http://keys.test/jwks"}, "jwks_uri: write https", id="http"),
        pytest.param({"jwks_uri": "http://127.0.0.1/jwks"}, "jwks_uri: write https", id="loopback"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, "jwks_uri: write an https", id="file"),
        pytest.param({"jwks_uri": "https://u:p@keys.test"}, "jwks_uri: write an https", id="user"),
    ],
)
def test_keys_are_fetched_by_https(tmp_path, party, settings, problem):
    """Whoever answers for the keys is the issuer; plain http only where loopback is allowed."""
    changed = change(["max_targets"], 3)
    number = 0 if party == "issuers" else 5
    del changed[party][number]["jwks"]
    changed[party][number] |= settings

    assert [f"{party}[{number}].{problem}"] == [
        line[: len(f"{party}[{number}].{problem}")] for line in refusal(tmp_path, changed)
    ]


@pytest.mark.row("ATK-SSRF-01")
def test_loopback_http_keys_are_fetched_where_that_is_written(tmp_path):
    """The honest twin: a demo issuer beside the broker."""
    changed = change(["issuers", 0, "allow_private_network"], True)
    del changed["issuers"][0]["jwks"]
    changed["issuers"][0]["jwks_uri"] = "http://127.0.0.1:9000/jwks"

    assert load(tmp_path, changed).issuers[0].allow_private_network


SECRET = "sha256:" + "ab" * 32

CLIENT_CASES = [
    case(["clients", 0, "id"], "svc b", "clients[0].id: write 1 to 255", "id-space"),
    case(["clients", 0, "id"], "svc:a", "clients[0].id: write 1 to 255", "id-colon"),
    case(["clients", 0, "id"], "svc%2Da", "clients[0].id: write 1 to 255", "id-percent"),
    case(["clients", 0, "id"], "svc+a", "clients[0].id: write 1 to 255", "id-plus"),
    case(["clients", 0, "id"], "své-a", "clients[0].id: write 1 to 255", "id-unicode"),
    case(["clients", 0, "id"], "svc-a\n", "clients[0].id: write 1 to 255", "id-newline"),
    case(["clients", 0, "id"], "", "clients[0].id: write 1 to 255", "id-empty"),
    case(["clients", 3, "id"], "svc-a", "clients[3].id: is the same as clients[0].id", "id-twice"),
    case(["clients", 0, "auth"], "none", "clients[0].auth: write client_secret_basic", "auth-none"),
    case(["clients", 0, "auth"], "client_secret_jwt", "clients[0].auth: write client", "auth-hmac"),
    case(["clients", 0, "auth"], "private_key_jwt", "clients[0].secrets: is not for", "auth-other"),
    case(["clients", 0, "secrets"], [], "clients[0].secrets: is required", "no-secret"),
    case(["clients", 0, "secrets"], ["hunter2"], "clients[0].secrets[0]: write sha256", "plain"),
    case(["clients", 0, "secrets"], [""], "clients[0].secrets[0]: write sha256", "secret-empty"),
    case(["clients", 0, "secrets"], [None], "clients[0].secrets[0]: write text", "secret-null"),
    case(["clients", 0, "secrets"], [SECRET + "0"], "clients[0].secrets[0]: write sh", "65-digits"),
    case(["clients", 0, "secrets"], [SECRET + "\n"], "clients[0].secrets[0]: write sh", "newline"),
    case(
        ["clients", 0, "secrets"],
        [SHA256_OF_NOTHING],
        "clients[0].secrets[0]: this is",
        "of-nothing",
    ),
    case(["clients", 0, "secrets"], [SECRET, SECRET], "clients[0].secrets[1]: is the same", "same"),
    case(
        ["clients", 0, "secrets"],
        [SECRET[:-1] + digit for digit in "123"],
        "clients[0].secrets: write at most 2",
        "three-secrets",
    ),
    case(["clients", 0, "jwks"], KEY_SET, "clients[0].jwks: is only for", "keys-with-secret"),
    case(["clients", 5, "jwks"], ..., "clients[5]: write exactly one", "no-keys"),
    case(["clients", 5, "jwks_file"], "keys", "clients[5]: write exactly one", "two-key-sources"),
    case(["clients", 5, "jwks_uri"], "https://k.test", "clients[5]: write exactly", "uri-and-keys"),
    case(["clients", 5, "secrets"], [SECRET], "clients[5].secrets: is not for", "keys-and-secret"),
    case(["clients", 5, "algorithms"], ["HS256"], "clients[5].algorithms[0]: write RS", "hs256"),
    case(["clients", 5, "algorithms"], [], "clients[5].algorithms: write at least", "no-algorithm"),
    case(
        ["clients", 5, "assertion_audience"], "*", "clients[5].assertion_audience: wri", "aud-any"
    ),
    case(["clients", 0, "targets"], ["nothing"], "clients[0].targets[0]: is no target", "target"),
    case(["clients", 0, "targets"], ["*"], "clients[0].targets[0]: write the exact", "target-any"),
    case(
        ["clients", 0, "default_target"], "nothing", "clients[0].default_target: is no", "default"
    ),
    case(
        ["clients", 0, "grant_types"], ["password"], "clients[0].grant_types[0]: write t", "grant"
    ),
    case(
        ["clients", 0, "known_as"],
        [{"issuer": "https://nobody.test", "id": "x"}],
        "clients[0].known_as[0].issuer: is no trusted issuer",
        "known-as-nobody",
    ),
    case(
        ["clients", 0, "known_as"],
        [{"issuer": IDP, "id": "known-app"}],
        "clients[8].known_as[0]: is the same as clients[0].known_as[0]",
        "known-as-another-client",
    ),
    case(["clients", 0, "secret"], "x", "clients[0].secret: is not a known key", "unknown-key"),
]


@pytest.mark.row(
    *("ATK-CFG-01", "D-09", "OA-2.3-07", "CA-J-01", "CA-M-01", "CA-N-01", "CA-3-11"),
    "CVE-2026-73309",
)
@pytest.mark.parametrize(("where", "value", "problem"), CLIENT_CASES)
def test_a_client_that_anybody_could_be_stops_the_start(tmp_path, where, value, problem):
    """RFC 6749 §2.3: every client has one method, and a real credential for it."""
    assert_refused(tmp_path, where, value, problem)


TARGET_CASES = [
    case(["targets", 1, "name"], "svc-a", "targets[1].name: is also a name", "name-twice"),
    case(
        ["targets", 1, "audience"], "svc-a", "targets[1].audience: is also", "audience-of-another"
    ),
    case(
        ["targets", 1, "audience"], "https://uri.test/", "targets[3].audience: is also", "same-aud"
    ),
    case(
        ["targets", 1, "audience"], "https://URI.test", "targets[3].audience: is also", "aud-case"
    ),
    case(
        ["targets", 1, "resources"], ["https://uri.test/t1"], "targets[3].resources[1]: is", "res"
    ),
    case(
        ["targets", 4, "name"], "https://svc-b.test/", "targets[4].name: is also", "name-resource"
    ),
    case(["targets", 1, "audience"], "*", "targets[1].audience: write the exact", "audience-any"),
    case(
        ["targets", 1, "audience"], "https://*.test/", "targets[1].audience: write the", "aud-glob"
    ),
    case(
        ["targets", 1, "resources"], ["https://*.test/"], "targets[1].resources[0]: write", "glob"
    ),
    case(
        ["targets", 1, "resources"], ["/path"], "targets[1].resources[0]: write an abs", "relative"
    ),
    case(
        ["targets", 1, "resources"], ["https://b.test/#"], "targets[1].resources[0]: wr", "fragment"
    ),
    case(["targets", 1, "audience"], BROKER_ISSUER, "targets[1].audience: is this", "aud-broker"),
    case(
        ["targets", 1, "audience"], f"{BROKER_ISSUER}/", "targets[1].audience: is this", "aud-slash"
    ),
    case(
        ["targets", 1, "audience"], f"{BROKER_ISSUER}/token", "targets[1].audience: is", "endpoint"
    ),
    case(
        ["targets", 1, "resources"],
        [f"{BROKER_ISSUER}/revoke"],
        "targets[1].resources[0]: is",
        "rev",
    ),
    case(
        ["targets", 4, "name"],
        f"{BROKER_ISSUER}/introspect",
        "targets[4].name: is thi",
        "introspect",
    ),
    case(
        ["targets", 4, "name"], "svc-jwt", "targets[4].name: is the id of clients[5]", "client-id"
    ),
    case(["targets", 4, "audience"], "svc-jwt", "targets[4].audience: is the id", "aud-client-id"),
    case(
        ["targets", 4, "claims"], ["email", "sub"], "targets[4].claims[1]: the broker", "claim-sub"
    ),
    case(["targets", 1, "scopes"], ["a b"], "targets[1].scopes[0]: write 1 to", "scope-space"),
    case(["targets", 1, "scopes"], ["*"], "targets[1].scopes[0]: write the exact", "scope-any"),
    case(["targets", 1, "max_lifetime"], "25h", "targets[1].max_lifetime: write a", "lifetime"),
    case(["targets", 1, "max_lifetime"], "0s", "targets[1].max_lifetime: write a", "lifetime-zero"),
    case(["targets", 1, "format"], "opaque", "targets[1].format: write jwt", "format"),
    case(["targets", 1, "algorithm"], "HS256", "targets[1].algorithm: write ES256", "hs256"),
    case(["targets", 1, "algorithm"], "none", "targets[1].algorithm: write ES256", "none"),
    case(
        ["targets", 1, "lifetime"], "1h", "targets[1].lifetime: is not a known key", "unknown-key"
    ),
]


@pytest.mark.row("ATK-CFG-01", "TX-2.1-12", "AT-H-01")
@pytest.mark.parametrize(("where", "value", "problem"), TARGET_CASES)
def test_a_target_that_is_not_one_thing_stops_the_start(tmp_path, where, value, problem):
    """RFC 8693 §2.1: a name means one target, and never the broker."""
    assert_refused(tmp_path, where, value, problem)


@pytest.mark.row("AT-H-03")
@pytest.mark.parametrize(
    "claim",
    [
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "act", "may_act"),
        *("cnf", "txn", "purpose", "sub_id", "delegation_depth", "max_delegation_depth", "lineage"),
        *("lineage_keys", "lineage_clients", "root_iat"),
    ],
)
def test_no_claim_of_a_subject_becomes_one_of_ours(tmp_path, claim):
    """A subject that chooses its own ``act`` or ``exp`` needs no attacker."""
    where = ["targets", 4, "claims"]
    assert_refused(tmp_path, where, [claim], "targets[4].claims[0]: the broker writes this claim")


@pytest.mark.row("ATK-CFG-01")
@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        case(["database", "url"], "postgresql://db", "keys.kek_file: is required", "no-kek"),
        case(["database", "url"], "mysql://db", "database.url: write a URL like", "mysql"),
        case(["policy", "engine"], "opa", "policy.url: is required", "opa-without-url"),
        case(["policy", "url"], "http://127.0.0.1", "policy.url: is only for", "wasm-with-url"),
        case(["policy", "url"], "http://opa:8181", "policy.url: write https", "opa-over-http"),
        case(["policy", "deadline"], "1m", "policy.deadline: write a duration", "slow-policy"),
        case(["policy", "allow_all"], True, "policy.allow_all: is not a known key", "allow-all"),
        case(["admin", "port"], 8080, "admin.port: write another port", "one-listener"),
        case(["trusted_proxies"], ["0.0.0.0/0"], "trusted_proxies[0]: write the pro", "all-ipv4"),
        case(["trusted_proxies"], ["::/0"], "trusted_proxies[0]: write the pro", "all-ipv6"),
        case(["trusted_proxies"], ["*"], "trusted_proxies[0]: write an address", "any-proxy"),
        case(["trusted_proxies"], ["10.0.0.1/8"], "trusted_proxies[0]: write an ad", "host-bits"),
        case(["trusted_proxies"], [10], "trusted_proxies[0]: write an address", "number"),
        case(["keys", "algorithm"], "HS256", "keys.algorithm: write ES256", "hs256"),
        case(["keys", "provider"], "pkcs11", "keys.pkcs11: is required", "no-token"),
        case(["keys", "provider"], "file", "keys.provider: write postgresql", "no-provider"),
        case(["keys", "second_kek_file"], "k", "keys.second_kek_file: is only", "second-alone"),
        case(
            ["keys"],
            {"kek_file": "k", "second_kek_file": "k"},
            "keys.second_kek_file: is the same",
            "one-kek-twice",
        ),
        case(["keys", "pkcs11"], {"module": "m"}, "keys.pkcs11.token_label: is", "no-label"),
        case(
            ["keys", "pkcs11"],
            {"module": "m", "token_label": "t", "pin": "1234", "pin_file": "p"},
            "keys.pkcs11.pin: is not a known key",
            "pin-in-the-file",
        ),
        case(["keys", "rotate_every"], "1s", "keys.rotate_every: write a duration", "rotation"),
        case(["max_delegation_depth"], 0, "max_delegation_depth: write at least 1", "no-depth"),
        case(["max_delegation_depth"], 15, "max_delegation_depth: write at most 14", "endless"),
        case(["max_targets"], 17, "max_targets: write at most 16", "targets"),
        case(["audit"], {"deadline": "1h"}, "audit.deadline: write a duration", "audit-late"),
        case(["audit"], {"enabled": False}, "audit.enabled: is not a known key", "no-audit"),
        case(["audit"], None, "audit: write a mapping", "null-section"),
        case(
            ["limits", "authentication_failures"], "0/1m", "limits.authentication_fa", "zero-rate"
        ),
        case(["limits", "authentication_failures"], "20", "limits.authentication_fa", "no-period"),
        case(["limits", "authentication_failures"], "20/0s", "limits.authentication_fa", "no-time"),
        case(["limits", "authentication_failures"], "-1/1m", "limits.authentication_fa", "minus"),
        case(
            ["telemetry"], {"trace_ratio": 1.5}, "telemetry.trace_ratio: write at most 1", "ratio"
        ),
        case(["telemetry"], {"trace_ratio": float("nan")}, "telemetry.trace_ratio:", "nan"),
        case(["listen"], {"port": 65536}, "listen.port: write at most 65535", "port"),
        case(["listen"], {"host": ""}, "listen.host: write at least one", "host"),
        case(["isuser"], "x", "isuser: is not a known key; write issuer", "unknown-key"),
    ],
)
def test_a_broker_that_is_not_safe_does_not_start(tmp_path, where, value, problem):
    """ATK-CFG-01: refuses to start with a message naming the key."""
    assert_refused(tmp_path, where, value, problem)


def test_our_own_keys_are_not_an_issuer_either(tmp_path):
    """The broker is a built-in issuer; a second entry could bring other keys for it."""
    entry = document()["issuers"][0] | {
        "issuer": BROKER_ISSUER,
        "alias": "self",
        "jwks": {"keys": [public_jwk(KEYS[OTHER])]},
    }
    assert_refused(tmp_path, ["issuers", None], entry, "issuers[7].issuer: is our own issuer")
