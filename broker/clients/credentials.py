"""Which credentials a request presents, and for whom. RFC 6749 §2.3, RFC 7617, RFC 7521 §4.2.

What holds when ``read_credentials`` returns:

(1) there is exactly one method in the request;
(2) whatever names the client in it names one;
(3) nothing is verified. Every value is named so.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from broker.domain import Credentials
from broker.errors import AuthenticationRejected, Reason
from broker.oauth import CLIENT_ASSERTION_TYPE_JWT_BEARER, AuthMethod

_BASIC: Final = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class PresentedSecret:
    """A client id with a secret, by Basic or in the body."""

    method: AuthMethod
    unverified_client_id: str
    unverified_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedAssertion:
    """A client assertion, which names its client itself."""

    unverified_assertion: str = field(repr=False)
    unverified_client_id: str | None  # what the body says beside it


def read_credentials(credentials: Credentials) -> PresentedSecret | PresentedAssertion:
    """Return the one set of credentials in a request. Empty parameters are absent by now.

    Raises ``AuthenticationRejected``: ``client.authentication_missing``,
    ``client.several_methods``, ``client.assertion_incomplete``, ``client.id_mismatch`` or
    ``client.credentials_malformed``.
    """
    secret = credentials.unverified_client_secret
    assertion = credentials.unverified_client_assertion
    assertion_type = credentials.unverified_client_assertion_type
    headers = credentials.unverified_authorization

    # (1) Counted before any is looked at: a header of another scheme is a method too, and half an
    # assertion beside a secret is two.
    by_assertion = assertion is not None or assertion_type is not None
    tried = len(headers) + (secret is not None) + by_assertion
    if tried == 0:
        raise AuthenticationRejected(Reason.CLIENT_AUTHENTICATION_MISSING)
    if tried > 1:
        raise AuthenticationRejected(Reason.CLIENT_SEVERAL_METHODS)

    client_id = credentials.unverified_client_id
    if headers:
        presented = _presented(*read_basic(headers[0]))
        # (2) RFC 6749 §3.2.1. Compared before the secret is: it says nothing about the secret.
        if client_id is not None and client_id != presented.unverified_client_id:
            raise AuthenticationRejected(Reason.CLIENT_ID_MISMATCH)
        return presented
    if secret is not None:
        if client_id is None:
            raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED)
        return PresentedSecret(AuthMethod.CLIENT_SECRET_POST, client_id, secret)
    if assertion is None or assertion_type != CLIENT_ASSERTION_TYPE_JWT_BEARER:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INCOMPLETE)
    return PresentedAssertion(assertion, client_id)


def read_basic(header: str) -> tuple[bytes, bytes]:
    """Return id and secret of a Basic header as they were sent, not yet decoded. RFC 7617 §2.

    Raises ``AuthenticationRejected``: ``client.credentials_malformed``.
    """
    match = _BASIC.fullmatch(header)
    if match is None:
        raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED)
    try:
        decoded = base64.b64decode(match[1], validate=True)
    except binascii.Error as error:
        raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED) from error
    client_id, colon, secret = decoded.partition(b":")
    if not colon or not client_id:
        raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED)
    return client_id, secret


def form_decode(encoded: bytes) -> str:
    """Return the text of a form-encoded value, decoded once. RFC 6749 §2.3.1.

    What is not encoded decodes to itself in the charset of ids and generated secrets, so libraries
    that encode and libraries that do not mean the same.

    Raises ``AuthenticationRejected``: ``client.credentials_malformed``.
    """
    try:
        return _form_decode(encoded)
    except ValueError as error:
        raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED) from error


def _presented(client_id: bytes, secret: bytes) -> PresentedSecret:
    """Return id and secret of a Basic header, each form-decoded. RFC 6749 §2.3.1."""
    return PresentedSecret(
        AuthMethod.CLIENT_SECRET_BASIC, form_decode(client_id), form_decode(secret)
    )


def _form_decode(encoded: bytes) -> str:
    """Return the text, or raise ``ValueError``."""
    # Strictly: whoever reads "%zz" leniently reads another secret than whoever does not.
    if encoded.count(b"%") != len(_ESCAPE.findall(encoded)):
        raise ValueError("a percent sign without two hex digits")
    spaced = encoded.replace(b"+", b" ")
    text = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), spaced).decode("utf-8")
    if not text.isprintable():
        raise ValueError("a control character")
    return text
