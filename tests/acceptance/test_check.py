"""``broker check``: each thing that can be wrong with a configuration is named, with its remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.diagnosis import Change, configured, diagnose, findings, key_set
from tests.jwts import CLIENT_KEY, IDP, KEYS, OTHER, STRANGERS_KEY, public_jwk

GRANTS = "policies/broker/grants/data.yaml"
SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def issuer(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in document["issuers"] if each["issuer"] == name)


def client(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in document["clients"] if each["id"] == name)


def setting(path: str, value: Any) -> Change:
    """Set one key; ``a.b`` is ``b`` in section ``a``."""

    def change(document: dict[str, Any], _: Path) -> None:
        *sections, key = path.split(".")
        for section in sections:
            document = document.setdefault(section, {})
        document[key] = value

    return change


def issuer_keys(jwks: dict[str, Any], name: str = IDP) -> Change:
    return lambda document, _: issuer(document, name).update(jwks=jwks)


def client_keys(jwks: dict[str, Any]) -> Change:
    return lambda document, _: client(document, "svc-jwt").update(jwks=jwks)


def issuer_file(text: str | None) -> Change:
    def change(document: dict[str, Any], folder: Path) -> None:
        if text is not None:
            (folder / "idp.json").write_text(text)
        del issuer(document, IDP)["jwks"]
        issuer(document, IDP)["jwks_file"] = "idp.json"

    return change


def written(path: str, text: str) -> Change:
    """Write a file of the policy folder."""
    return lambda _, folder: (folder / path).write_text(text) and None


def granted(change: Any) -> Change:
    """Change the grants data."""

    def write(_: dict[str, Any], folder: Path) -> None:
        file = folder / GRANTS
        grants = yaml.safe_load(file.read_text())
        change(grants)
        file.write_text(yaml.safe_dump(grants))

    return write


def kek(text: str | None, mode: int = 0o600) -> Change:
    def change(_: dict[str, Any], folder: Path) -> None:
        (folder / "kek").unlink()
        if text is not None:
            (folder / "kek").write_text(text)
            (folder / "kek").chmod(mode)

    return change


def admin_token(text: str | None) -> Change:
    def change(document: dict[str, Any], folder: Path) -> None:
        if text is not None:
            (folder / "token").write_text(text)
            (folder / "token").chmod(0o600)
        document["admin"]["token_file"] = "token"

    return change


def asked(text: str | None, mode: int = 0o600, **introspection: Any) -> Change:
    """Have the identity provider asked about its tokens, with this client secret in a file."""

    def change(document: dict[str, Any], folder: Path) -> None:
        if text is not None:
            (folder / "idp.secret").write_text(text)
            (folder / "idp.secret").chmod(mode)
        issuer(document, IDP)["introspection"] = {
            "endpoint": f"{IDP}/introspect",
            "client_id": "broker",
            "client_secret_file": "idp.secret",
        } | introspection

    return change


def test_a_good_configuration_is_good(tmp_path: Path):
    """Exit code 0; nothing outside was asked, for the database that it names does not exist."""
    result = diagnose("check", configured(tmp_path))

    assert (0, {"good"}) == (result.exit_code, {found["mark"] for found in findings(result)})
    assert json.loads(result.stdout)["ok"]


@pytest.mark.row("SB-2.5-01")
def test_private_key_jwt_is_recommended(tmp_path: Path):
    """RFC 9700 §2.5: to clients that authenticate by secret, as a hint and no fault."""
    (found,) = [
        found
        for found in findings(diagnose("check", configured(tmp_path)))
        if found["subject"] == "clients"
    ]

    assert "good" == found["mark"]
    assert "private_key_jwt" in found["remedy"]
    assert "svc-a" in found["text"]
    assert "svc-jwt" not in found["text"]


@pytest.mark.parametrize(
    ("change", "subject", "text"),
    [
        pytest.param(setting("isuer", "x"), "isuer", "not a known key", id="unknown-key"),
        pytest.param(setting("issuer", "ftp://x"), "issuer", "https", id="bad-issuer"),
        pytest.param(setting("audit.deadline", "soon"), "audit.deadline", "duration", id="value"),
        pytest.param(kek(None), "keys.kek_file", "does not exist", id="kek-missing"),
        pytest.param(kek("c2hvcnQ="), "keys.kek_file", "holds 5 bytes", id="kek-short"),
        pytest.param(kek("k" * 44, 0o644), "keys.kek_file", "everybody can read", id="kek-open"),
        pytest.param(
            setting("keys.second_kek_file", "absent"),
            "keys.second_kek_file",
            "does not exist",
            id="second-kek-missing",
        ),
        pytest.param(
            setting("keys.pkcs11", {"module": "m", "token_label": "t", "pin_file": "absent"}),
            "keys.pkcs11.pin_file",
            "does not exist",
            id="pin-missing",
        ),
        pytest.param(
            asked(None),
            "introspection of issuer idp.client_secret_file",
            "does not exist",
            id="no-secret-to-ask-with",
        ),
        pytest.param(
            asked("secret", 0o644),
            "introspection of issuer idp.client_secret_file",
            "everybody can read",
            id="open-secret-to-ask-with",
        ),
        pytest.param(
            asked("secret", ca_file="absent.pem"),
            "ca_file of introspection of issuer idp",
            "holds no certificate",
            id="no-anchor-to-ask-with",
        ),
        pytest.param(admin_token(None), "admin.token_file", "cannot be read", id="no-admin-token"),
        pytest.param(admin_token("1234"), "admin.token_file", "guessed", id="weak-admin-token"),
        pytest.param(
            issuer_keys(key_set(SMALL_RSA, alg="RS256")),
            "keys of issuer idp",
            "RSA of 1024 bits",
            id="weak-key-of-an-issuer",
        ),
        pytest.param(
            client_keys(key_set(CLIENT_KEY, use="enc")),
            "keys of client svc-jwt",
            "its use is not sig",
            id="key-for-encryption",
        ),
        pytest.param(
            issuer_keys({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}),
            "keys of issuer idp",
            "none is usable",
            id="broken-key",
        ),
        pytest.param(
            client_keys(key_set(KEYS[IDP])),
            "duplicate keys",
            "issuer idp and client svc-jwt have the same key",
            id="client-with-the-key-of-an-issuer",
        ),
        pytest.param(issuer_file(None), "keys of issuer idp", "cannot be read", id="no-jwks-file"),
        pytest.param(issuer_file("{"), "keys of issuer idp", "", id="jwks-file-no-json"),
        pytest.param(
            issuer_file(json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})),
            "keys of issuer idp",
            "symmetric",
            id="published-secret",
        ),
        pytest.param(
            written("policies/broker/exchange/broken.rego", "package broker.broken\nx := \n"),
            "policy",
            "broken.rego:3",
            id="policy-does-not-parse",
        ),
        pytest.param(
            granted(lambda grants: grants.update({"svc-x": grants["svc-a"]})),
            "grant svc-x",
            "no client",
            id="grant-for-an-unknown-client",
        ),
        pytest.param(
            granted(lambda grants: grants["svc-a"].update({"svc-x": {"scopes": []}})),
            "grant svc-a.svc-x",
            "no target",
            id="grant-for-an-unknown-target",
        ),
        pytest.param(
            granted(lambda grants: grants["svc-a"]["svc-b"].update(scopes=["orders.all"])),
            "grant svc-a.svc-b.scopes[0]",
            "no scope of this target",
            id="grant-of-an-unknown-scope",
        ),
        pytest.param(
            granted(lambda grants: grants["svc-a"]["svc-b"].update(max_lifetime="soon")),
            "grant svc-a.svc-b.max_lifetime",
            "write a duration",
            id="grant-with-no-lifetime",
        ),
        pytest.param(
            granted(lambda grants: grants["svc-a"]["svc-b"].update(isuers=["*"])),
            "grant svc-a.svc-b.isuers",
            "not a known key",
            id="grant-with-a-misspelt-key",
        ),
        pytest.param(setting("policy.path", "nowhere"), "policy", "nowhere", id="no-policy-folder"),
    ],
)
def test_what_will_fail_is_named(tmp_path: Path, change: Change, subject: str, text: str):
    """Exit code 2, the fault under the name that the configuration has for it, and a remedy."""
    result = diagnose("check", configured(tmp_path, change))

    worst = findings(result)[0]
    assert (2, "bad", subject) == (result.exit_code, worst["mark"], worst["subject"])
    assert text in worst["text"]
    assert worst["remedy"]


def no_issuers(document: dict[str, Any], folder: Path) -> None:
    document["issuers"] = []
    client(document, "svc-known")["known_as"] = []
    granted(lambda grants: grants.pop("svc-idp-only"))(document, folder)


def two_keys(document: dict[str, Any], _: Path) -> None:
    weak = public_jwk(STRANGERS_KEY, use="enc", alg="ES256")
    issuer(document, IDP)["jwks"]["keys"].append(weak)


@pytest.mark.parametrize(
    ("change", "subject", "text"),
    [
        pytest.param(two_keys, "keys of issuer idp", "key 2 is not used", id="one-key-unusable"),
        pytest.param(
            issuer_keys(key_set(KEYS[IDP], alg="ES256"), OTHER),
            "duplicate keys",
            "issuer idp and issuer other have the same key",
            id="two-issuers-with-one-key",
        ),
        pytest.param(no_issuers, "issuers", "there is none", id="no-issuer"),
    ],
)
def test_what_should_be_looked_at_is_named(tmp_path: Path, change: Change, subject: str, text: str):
    """Exit code 1: it works, and should not stay so."""
    result = diagnose("check", configured(tmp_path, change))

    warnings = [found for found in findings(result) if found["mark"] == "warning"]
    assert 1 == result.exit_code, findings(result)
    assert (subject, True) == (warnings[0]["subject"], text in warnings[0]["text"])


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "postgresql://u:hunter2-hunter2@h/d"])
def test_no_secret_is_repeated(tmp_path: Path, secret: str):
    """A secret that was written at the wrong place is not printed into a CI log."""

    def change(document: dict[str, Any], _: Path) -> None:
        client(document, "svc-a")["secrets"] = [secret]
        document["database"]["url"] = secret.replace("postgresql", "mysql")
        document["keys"]["kek_file"] = {"inline": secret}

    result = diagnose("check", configured(tmp_path, change))

    assert 2 == result.exit_code
    assert "hunter2" not in result.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    """With the path, as the first thing that one gets wrong."""
    result = diagnose("check", tmp_path / "nowhere.yaml")

    assert 2 == result.exit_code
    assert "nowhere.yaml" in findings(result)[0]["subject"]


def test_an_issuer_with_opaque_tokens_alone_needs_no_keys(tmp_path: Path):
    """It is asked, so there is nothing to verify with and nothing to miss."""

    def keyless(document: dict[str, Any], folder: Path) -> None:
        asked("secret")(document, folder)
        del issuer(document, IDP)["jwks"]
        issuer(document, IDP)["algorithms"] = []

    result = diagnose("check", configured(tmp_path, keyless))
    found = {each["subject"]: each["text"] for each in findings(result)}

    assert 0 == result.exit_code
    assert "asks about tokens: opaque" == found["introspection of issuer idp"]
    assert "keys of issuer idp" not in found
