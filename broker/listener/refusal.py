"""What is answered to that which is no request, before any endpoint is reached.

So there is no ``Reason``, no request id and no row in the audit trail; refusals are counted.
"""

from http import HTTPStatus
from typing import Final

from broker.oauth import OAuthError


def _render_refusal(status: HTTPStatus, error: OAuthError, description: str) -> bytes:
    body = b'{"error":"%b","error_description":"%b"}' % (error.encode(), description.encode())
    retry_after = b"retry-after: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else b""
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"cache-control: no-store\r\npragma: no-cache\r\n%bconnection: close\r\n\r\n%b"
    ) % (status, status.phrase.encode(), len(body), retry_after, body)


REFUSALS: Final = {
    status: _render_refusal(status, error, description)
    for status, error, description in (
        (
            HTTPStatus.BAD_REQUEST,
            OAuthError.INVALID_REQUEST,
            "The request is not well-formed HTTP/1.1.",
        ),
        (
            HTTPStatus.REQUEST_TIMEOUT,
            OAuthError.INVALID_REQUEST,
            "The request arrived too slowly.",
        ),
        (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            OAuthError.INVALID_REQUEST,
            "The header is larger than 16 KiB or has more than 100 fields.",
        ),
        (
            HTTPStatus.SERVICE_UNAVAILABLE,
            OAuthError.TEMPORARILY_UNAVAILABLE,
            "There are too many requests at the moment.",
        ),
    )
}
