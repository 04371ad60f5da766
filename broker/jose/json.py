"""JSON as RFC 8259 has it and nothing beyond: every text has one meaning, and a bounded cost.

Python's own reader takes the last of two members of one name, knows ``NaN``, reads ``1e400`` as
infinity, passes lone surrogates and fails on depth with ``RecursionError``. None of that is left.
"""

import json
import math
import re
from typing import Any, NoReturn

import orjson

from broker.jose.errors import Malformed
from broker.oauth import MAX_JSON_DEPTH

MAX_NUMBER = 64  # characters
_INT64 = range(-(2**63), 2**64)  # what every other reader of our records can hold

# A string, closed or not, is one match: so the scan is linear, whatever is in the text.
_BRACKET_OR_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(data: bytes, *, max_depth: int = MAX_JSON_DEPTH) -> Any:  # noqa: ANN401 — any JSON value
    """Return the value of a JSON text in UTF-8.

    ``max_depth`` is in nested arrays and objects. Raises ``Malformed`` for whatever two readers
    could understand differently (repeated members, also by escapes; numbers beyond 64 bits or
    infinite; NUL and lone surrogates in strings; a byte order mark) and for too much depth.
    """
    _check_depth(data, max_depth)
    found, value = _read_plainly(data)
    if found:
        return value
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        # Only an escape brings them in: UTF-8 has no surrogates, JSON no raw control characters.
        if b"\\u" in data:
            _check_strings(value)
    except ValueError:
        # The library's error holds the whole text, so it does not become the cause.
        raise Malformed("not strict JSON") from None
    return value


def _read_plainly(data: bytes) -> tuple[bool, Any]:
    """Return whether a reader that is quick and lenient has seen all of ``data``, and the value.

    What it writes back byte for byte has lost nothing: no member that is there twice, no digit.
    Most tokens are written like that; whatever is not is left to the strict reader.
    """
    if b"\\u" in data:
        return False, None
    try:
        value = orjson.loads(data)
        return orjson.dumps(value) == data, value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return False, None


def _check_depth(data: bytes, max_depth: int) -> None:
    # No text is deeper than it has opening brackets; few tokens have more than the bound.
    if data.count(b"{") + data.count(b"[") <= max_depth:
        return
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(data):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if depth > max_depth:
                raise Malformed("JSON is nested too deeply")
        elif token in (b"}", b"]"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _integer(text: str) -> int:
    # The length first: reading a number of many digits is more than linear.
    if len(text) > MAX_NUMBER or (value := int(text)) not in _INT64:
        raise ValueError("an integer is out of bounds")
    return value


def _fraction(text: str) -> float:
    if len(text) > MAX_NUMBER or math.isinf(value := float(text)):
        raise ValueError("a number is out of bounds")
    return value


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _check_strings(value: object) -> None:
    """Raise ``ValueError`` for a string that UTF-8 or a ``text`` column cannot hold."""
    # Recursion is safe: the depth was checked before.
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("NUL in a string")
        value.encode("utf-8")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_strings(name)
            _check_strings(member)
    elif isinstance(value, list):
        for member in value:
            _check_strings(member)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)
