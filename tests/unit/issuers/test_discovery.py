"""Where an issuer's metadata is looked for."""

import pytest

from broker.issuers.discovery import metadata_urls


@pytest.mark.row("MD-3-01", "MD-3.3-01")
@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        (
            "https://h",
            (
                "https://h/.well-known/openid-configuration",
                "https://h/.well-known/oauth-authorization-server",
            ),
        ),
        (
            "https://h:8443/t1/",
            (
                "https://h:8443/t1/.well-known/openid-configuration",
                "https://h:8443/.well-known/oauth-authorization-server/t1",
            ),
        ),
    ],
)
def test_metadata_is_beside_the_issuer(issuer, expected):
    """RFC 8414 §3.1: inserted before the path; OpenID: appended to it; no slash twice."""
    assert expected == metadata_urls(issuer)
