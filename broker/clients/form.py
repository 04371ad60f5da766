"""``application/x-www-form-urlencoded``, read strictly. RFC 6749 appendix B.

What is doubtful is refused and nothing is repaired: two readers of one body that repair it
differently have read two requests. Every pass over the body is linear in its length.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from broker.errors import ParseRejected, Reason
from broker.oauth import MAX_PARAMETERS

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """Return the parameters in their order: repeated and empty ones too, each decoded once.

    ``+`` is a space and only ``&`` separates. Raises ``ParseRejected``:
    ``request.too_many_parameters`` or ``request.malformed_form``.
    """
    # Counted before anything is split, so that no body makes more than this many objects.
    if body.count(b"&") >= MAX_PARAMETERS:
        raise ParseRejected(Reason.REQUEST_TOO_MANY_PARAMETERS)
    # A NUL ends a string for some of those who will see these values, and for others not.
    if b"\0" in body or b"%00" in body or _BAD_ESCAPE.search(body) is not None:
        raise ParseRejected(Reason.REQUEST_MALFORMED_FORM)
    pairs = (pair.partition(b"=") for pair in body.replace(b"+", b" ").split(b"&") if pair)
    try:
        return [(_decode(name), _decode(value)) for name, _, value in pairs]
    except UnicodeDecodeError:
        # Its text repeats what was sent, which may be a credential: it is not kept as the cause.
        raise ParseRejected(Reason.REQUEST_MALFORMED_FORM) from None


def _decode(encoded: bytes) -> str:
    # Every escape is known to be good by now, so this leaves none undecoded.
    return (unquote_to_bytes(encoded) if b"%" in encoded else encoded).decode("utf-8")
