"""Every configuration object keeps every field: nothing is dropped between file and value."""

from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from broker.settings import Rate, Settings, load_settings
from broker.settings.keys import model_in
from broker.settings.values import parse_duration, render_duration
from tests.jwts import CLIENT_KEY, public_jwk

KEY_SET = {"keys": [public_jwk(CLIENT_KEY)]}
# What may stand in a file only by its name.
ENVIRON = {"SECRET_AT_B": "s3cr3t at b"}
REFERENCES = {text: f"${{{name}}}" for name, text in ENVIRON.items()}

# Each value differs from the default of its key. Several entries of a list fill in for one
# another what cannot stand together, such as two sources of keys.
FULL: dict[str, Any] = {
    "issuer": "https://broker.test",
    "listen": {"host": "192.0.2.1", "port": 8443},
    "admin": {"host": "192.0.2.2", "port": 9443, "token_file": "/run/admin"},
    "trusted_proxies": ["10.0.0.0/8", "2001:db8::/32"],
    "error_uri": "https://help.test/refused?request=",
    "database": {
        "url": "postgresql://app@db/broker",
        "owner_url": "postgresql://owner@db/broker",
        "data_dir": "/var/lib/broker",
    },
    "keys": {
        "algorithm": "Ed25519",
        "provider": "pkcs11",
        "rotate_every": "7d",
        "kek_file": "/run/kek",
        "second_kek_file": "/run/kek.new",
        "pkcs11": {"module": "/usr/lib/hsm.so", "token_label": "broker", "pin_file": "/run/pin"},
    },
    "policy": {
        "engine": "opa",
        "path": "/etc/policies",
        "url": "http://127.0.0.1:8181",
        "deadline": "20ms",
    },
    "audit": {
        "deadline": "500ms",
        "unauthenticated_refusals": "9/30s",
        "key_file": "/run/audit",
        "checkpoints": {
            "key_file": "/run/checkpoint",
            "every": "5s",
            "file": "/mnt/elsewhere/checkpoints",
            "s3": {
                "bucket": "audit-checkpoints",
                "prefix": "broker/",
                "endpoint_url": "https://s3.test",
                "region": "eu-central-1",
                "retain": "30d",
            },
            "witnesses": [{"url": "https://witness.test/log", "vkey": "witness.test+01+AA=="}],
        },
        "alerts": {
            "enabled": False,
            "rules": {
                "client_rate": {"enabled": False, "minimum": 1, "factor": 1.5},
                "new_pair": {"enabled": False, "minimum": 1, "factor": 1.5},
                "probing": {"enabled": False, "minimum": 1, "factor": 1.5},
                "replay": {"enabled": False, "threshold": "9/30m"},
                "deep_chain": {"enabled": False, "depth": 2},
                "use_after_revocation": {"enabled": False, "threshold": "9/30m"},
                "widening": {"enabled": False, "new": 2},
                "obliged": {"enabled": False},
            },
            "suppress": [
                {
                    "rule": "probing",
                    "client": "scanner",
                    "until": "2027-01-31T00:00:00Z",
                    "why": "the yearly test",
                },
                {
                    "rule": "replay",
                    "issuer": "https://idp.test",
                    "until": "2027-02-28T00:00:00Z",
                    "why": "it is mended by then",
                },
            ],
        },
        "streams": [
            {
                "name": "siem",
                "to": "syslog+tls://siem.test:6514",
                "format": "ocsf",
                "start": "now",
                "open": True,
                "ca_file": "/run/siem-ca.pem",
                "cert_file": "/run/siem.pem",
                "key_file": "/run/siem.key",
            }
        ],
    },
    "proxy": {
        "listen": {"host": "192.0.2.3", "port": 7443},
        "mesh_terminates_tls": True,
        "memory": 16,
        "store": {
            "url": "rediss://:s3cr3t@redis.test:6379/1",
            "key_file": "/run/proxy",
            "ca_file": "/run/redis-ca.pem",
            "deadline": "20ms",
        },
    },
    "upstreams": [
        {
            "name": "idp",
            "token_endpoint": "http://127.0.0.1:9000/token",
            "ca_file": "/run/idp-ca.pem",
            "allow_private_network": True,
            "clients": ["https://client.test", "checkout"],
            "parameters": ["tenant"],
            "timeout": "2s",
            "margin": 0.2,
        },
        {"name": "other", "issuer": "https://other.test", "clients": ["*"]},
    ],
    "telemetry": {
        "otlp_endpoint": "https://otel.test",
        "trace_ratio": 0.5,
        "log_level": "DEBUG",
    },
    "limits": {
        "authentication_failures": "7/30s",
        "introspections": "50/2s",
        "source": "300/1s",
        "client": {"rate": "20/1s", "burst": 40, "concurrent": 3, "daily": 1000},
        "client_target": {"rate": "10/1s", "burst": 11, "concurrent": 2, "daily": 500},
        "waiting": 64,
        "store": {"url": "rediss://r.test:6379/1", "ca_file": "/r-ca.pem", "deadline": "20ms"},
    },
    "max_delegation_depth": 5,
    "max_targets": 2,
    "issuers": [
        {
            "issuer": "https://a.test",
            "alias": "a",
            "jwks_uri": "https://a.test/jwks",
            "ca_file": "/etc/ca.pem",
            "allow_private_network": True,
            "algorithms": ["EdDSA"],
            "token_types": [
                "urn:ietf:params:oauth:token-type:id_token",
                "urn:ietf:params:oauth:token-type:access_token",
            ],
            "typ": [None, "JWT"],
            "audiences": ["https://broker.test"],
            "max_age": "1h",
            "leeway": "5s",
            "one_time": True,
            "require": ["tenant", "jti"],
            "scope_claim": "scp",
            "scopeless": True,
            "client_claim": "client_id",
            "subject": "keep",
            "asserts": ["act", "may_act"],
            "policy_claims": ["groups"],
            "clients": ["one"],
            "introspection": {
                "endpoint": "https://a.test/introspect",
                "client_id": "broker",
                "client_secret_file": "/run/secret-at-a",
                "ca_file": "/etc/ca.pem",
                "allow_private_network": True,
                "tokens": "all",
                "prefix": "a_at_",
                "cache": "5s",
                "deadline": "500ms",
                "unreachable": "accept",
            },
        },
        {
            "issuer": "https://b.test",
            "alias": "b",
            "algorithms": ["RS256"],
            "discovery": True,
            "introspection": {
                "endpoint": "https://b.test/introspect",
                "client_id": "broker-at-b",
                "client_secret": "${SECRET_AT_B}",
                "tokens": "jwt",
            },
        },
        {"issuer": "https://c.test", "alias": "c", "algorithms": ["RS256"], "jwks": KEY_SET},
        {"issuer": "https://d.test", "alias": "d", "algorithms": ["RS256"], "jwks_file": "/d"},
    ],
    "clients": [
        {
            "id": "one",
            "auth": "client_secret_post",
            "secrets": ["sha256:" + "a" * 64, "sha256:" + "b" * 64],
            "targets": ["t"],
            "known_as": [{"issuer": "https://a.test", "id": "one-at-a"}],
            "default_target": "t",
            "grant_types": [],
            "limits": {
                "client": {"rate": "2/1s", "burst": 3, "concurrent": 4, "daily": 7},
                "client_target": {"rate": "1/1s", "burst": 2, "concurrent": 1, "daily": 5},
            },
        },
        {
            "id": "two",
            "auth": "private_key_jwt",
            "jwks_uri": "https://two.test/jwks",
            "ca_file": "/etc/ca.pem",
            "allow_private_network": True,
            "algorithms": ["PS512"],
            "assertion_audience": "endpoint",
        },
        {"id": "three", "auth": "private_key_jwt", "jwks": KEY_SET},
        {"id": "four", "auth": "private_key_jwt", "jwks_file": "/four"},
    ],
    "targets": [
        {
            "name": "t",
            "resources": ["https://t.test/"],
            "audience": "https://t.test/",
            "scopes": ["a", "b"],
            "max_lifetime": "1m",
            "format": "reference",
            "algorithm": "RS256",
            "claims": ["email"],
        }
    ],
}

# What cannot stand beside a policy server.
WITH_BUNDLES: dict[str, Any] = FULL | {
    "policy": {
        "path": "/etc/policies",
        "verification": {
            "key_file": "/etc/bundles.pem",
            "algorithm": "ES256",
            "key_id": "release",
            "scope": "broker",
        },
        "source": {
            "url": "https://registry.example",
            "repository": "security/policy",
            "tag": "stable",
            "every": "5m",
            "mode": "observe",
            "username": "broker",
            "password_file": "/run/registry",
            "ca_file": "/etc/ca.pem",
            "allow_private_network": True,
        },
    },
}
WITH_TOKEN: dict[str, Any] = WITH_BUNDLES | {
    "policy": WITH_BUNDLES["policy"]
    | {"source": {"url": "https://bundles.example/b.tar.gz", "token_file": "/run/token"}}
}


def written(value: Any) -> Any:  # noqa: PLR0911 — a case for each kind of value
    """A setting as one would write it in YAML."""
    match value:
        case Rate():
            return str(value)
        case BaseModel():
            return {name: written(getattr(value, name)) for name in type(value).model_fields}
        case SecretStr():
            return REFERENCES.get(value.get_secret_value(), value.get_secret_value())
        case timedelta():
            return render_duration(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Path() | IPv4Network() | IPv6Network():
            return str(value)
        case tuple():
            return [written(item) for item in value]
        case frozenset():
            return sorted(value)
        case str():
            return str(value)
        case _:
            return value


def kept(given: Any, result: Any, path: str = "") -> list[str]:
    """The keys whose value is not what was written."""
    if isinstance(given, dict) and given != KEY_SET:
        return [p for name in given for p in kept(given[name], result.get(name), f"{path}.{name}")]
    if isinstance(given, list) and given and isinstance(given[0], dict):
        pairs = zip(given, result, strict=True)
        return [p for i, (a, b) in enumerate(pairs) for p in kept(a, b, f"{path}[{i}]")]
    return [] if given == result else [path]


def load(tmp_path: Path, content: Any) -> Settings:
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_settings(path, ENVIRON)


@pytest.mark.row("CVE-2026-107623")
@pytest.mark.parametrize("given", [FULL, WITH_BUNDLES, WITH_TOKEN], ids=["opa", "wasm", "token"])
def test_every_field_arrives_as_written(tmp_path, given):
    """A security flag that is read and dropped is off without anyone having turned it off."""
    assert [] == kept(given, written(load(tmp_path, given)))


@pytest.mark.row("CVE-2026-107623")
def test_the_full_document_leaves_no_key_out():
    """A new key has to be added above, with a value that is not its default."""

    def missing(model: type[BaseModel], given: list[dict], path: tuple[str, ...] = ()):
        for name, field in model.model_fields.items():
            values = [part[name] for part in given if name in part]
            inner = model_in(field.annotation)
            if inner is not None and values:
                flat = [
                    v for value in values for v in (value if isinstance(value, list) else [value])
                ]
                yield from missing(inner, flat, (*path, name))
            elif not values or (
                not field.is_required()
                and written(field.get_default()) in values
                and len(values) == 1
            ):
                yield ".".join((*path, name))

    assert [] == list(missing(Settings, [FULL, WITH_BUNDLES, WITH_TOKEN]))


@pytest.mark.row("CVE-2026-107623")
def test_what_was_read_can_be_written_and_read_again(tmp_path):
    """Read, written, read: equal, and the same goes for a dump and a copy."""
    settings = load(tmp_path, FULL)
    dumped = settings.model_dump()

    assert settings == load(tmp_path, written(settings))
    assert settings == Settings.model_validate(dumped)
    assert settings == settings.model_copy(deep=True)
    assert settings == Settings.model_validate(settings)


@pytest.mark.row("CVE-2026-107623")
def test_changing_one_key_changes_no_other(tmp_path):
    """Read, modify, write: everything that was not touched stays."""
    settings = load(tmp_path, FULL)
    for section in ("issuers", "clients", "targets"):
        for index, item in enumerate(getattr(settings, section)):
            key = {"issuers": "alias", "clients": "id", "targets": "name"}[section]
            changed = item.model_copy(update={key: "changed"})
            before, after = written(item), written(changed)
            assert {key} == {name for name in before if before[name] != after[name]}, index


def test_settings_do_not_change():
    """Whoever holds them may rely on them."""
    settings = Settings(issuer="https://broker.test")
    with pytest.raises(ValueError, match="frozen"):
        settings.max_targets = 2


def test_one_time_implies_a_jti(tmp_path):
    """What is used once is told apart by its ``jti``."""
    issuer = FULL["issuers"][0]
    content = FULL | {"issuers": [issuer | {"require": ["tenant"]}, *FULL["issuers"][1:]]}

    assert ("tenant", "jti") == load(tmp_path, content).issuers[0].require


def test_targets_are_signed_by_the_default_algorithm(tmp_path):
    """``keys.algorithm`` holds for every target that does not name its own."""
    target = {"name": "u"}
    settings = load(tmp_path, FULL | {"targets": [*FULL["targets"], target]})

    assert ["RS256", "Ed25519"] == [target.algorithm for target in settings.targets]
    assert ["https://t.test/", "u"] == [target.audience for target in settings.targets]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000), ("50ms", 0.05), ("0s", 0)],
)
def test_durations_are_a_number_and_a_unit(text, seconds):
    """As the design writes them."""
    duration = parse_duration(text)

    assert timedelta(seconds=seconds) == duration
    assert text == render_duration(duration)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "m", "5 m", "5M", "-5m", "+5m", "5.5m", "5m ", "5m\n", "\u0665m", "1e9s"),
        *("1000000000s", 5, None, True),
    ],
)
def test_anything_else_is_no_duration(text):
    """In full, in ASCII, and bounded."""
    with pytest.raises(ValueError, match="write a duration"):
        parse_duration(text)


@given(st.integers(0, 10**9 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_reads_back(count, unit):
    """What is rendered for the documentation means what it did."""
    try:
        duration = parse_duration(f"{count}{unit}")
    except OverflowError:
        pytest.fail("a duration overflows")
    except ValueError:
        return

    assert duration == parse_duration(render_duration(duration))
