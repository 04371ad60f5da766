"""The TLS settings of everything that is fetched."""

import ssl

import pytest

from broker.issuers.fetch import build_tls


@pytest.mark.row("OP-07", "MD-6-01")
def test_nothing_older_than_tls_1_2_is_spoken():
    """BCP 195, RFC 8414 §6.1: and the certificate and its name are always checked."""
    tls = build_tls()

    assert ssl.TLSVersion.TLSv1_2 <= tls.minimum_version
    assert ssl.CERT_REQUIRED == tls.verify_mode
    assert tls.check_hostname
