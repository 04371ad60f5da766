"""Where metadata is looked for, and when the keys are known already."""

import json

import pytest

from broker.endpoints.metadata import _is_known, build_metadata, metadata_paths


@pytest.mark.row("MD-3-01", "MD-3-03")
@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        pytest.param(
            "https://h.test",
            ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
            id="no-path",
        ),
        pytest.param(
            "https://h.test/t1",
            (
                "/.well-known/oauth-authorization-server/t1",
                "/.well-known/openid-configuration/t1",
                "/t1/.well-known/oauth-authorization-server",
                "/t1/.well-known/openid-configuration",
            ),
            id="path-inserted",
        ),
    ],
)
def test_metadata_is_found_inserted_and_appended(issuer: str, paths: tuple[str, ...]) -> None:
    """RFC 8414 §3.1 and §5, OpenID Connect Discovery §4."""
    assert paths == metadata_paths(issuer)


@pytest.mark.row("MD-2-02", "MD-3-02", "OA-3.2-01")
def test_every_url_is_below_the_issuer_and_no_list_is_empty() -> None:
    """RFC 8414 §2, §3.2: no fragment, no ``[]``."""
    document = json.loads(build_metadata("https://h.test/t1"))

    assert "https://h.test/t1/token" == document["token_endpoint"]
    assert "https://h.test/t1/introspect" == document["introspection_endpoint"]
    assert "https://h.test/t1/revoke" == document["revocation_endpoint"]
    assert "https://h.test/t1/.well-known/jwks.json" == document["jwks_uri"]
    assert all("#" not in str(value) and value != [] for value in document.values())


@pytest.mark.row("JK-01")
@pytest.mark.parametrize(
    ("header", "known"),
    [
        pytest.param("", False, id="none"),
        pytest.param('"a"', True, id="same"),
        pytest.param('W/"a"', True, id="weak"),
        pytest.param('"x", "a"', True, id="among-others"),
        pytest.param("*", True, id="any"),
        pytest.param('"b"', False, id="another"),
        pytest.param("a", False, id="unquoted"),
    ],
)
def test_a_known_version_is_not_sent_again(header: str, *, known: bool) -> None:
    """RFC 9110 §13.1.2."""
    assert known == _is_known(header, '"a"')
