"""Base64url in one spelling. RFC 7515 §2, RFC 4648 §3.5."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jose.base64url import decode, encode
from broker.jose.errors import Malformed

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
        (bytes([3, 236, 255, 224, 193]), "A-z_4ME"),
    ],
)
def test_the_examples_of_the_rfcs(data, text):
    """RFC 4648 §10 without padding, RFC 7515 appendix C."""
    assert (text, data) == (encode(data), decode(text))


@pytest.mark.row("JW-01")
@pytest.mark.parametrize(
    "text",
    [
        *("Zg==", "Zg=", "Zm8=", "=", "====", "Zm9v=", "Zm9v===="),
        *(" Zg", "Zg ", "Z g", "Zg\n", "\nZg", "Z\r\ng", "Zg\t", "Zg\0"),
        *("Z+g", "Z/g", "Z.g", "Z!g", "Z,g", "\uff3ag", "Z\u00e9", "\ud800", "Zg\u200b"),
        *("A", "AAAAA", "AAAAAAAAA"),
        *("Zh", "Zi", "Zo", "Zv", "Zm9", "Zm-", "Zm_"),
    ],
)
def test_any_other_spelling_is_refused(text):
    """RFC 7515 §2: no padding, no space, no other alphabet, no bits that no byte uses."""
    with pytest.raises(Malformed):
        decode(text)


@pytest.mark.row("JW-01")
@pytest.mark.parametrize("length", [2, 3])
def test_of_all_last_characters_exactly_those_pass_that_are_written(length):
    """RFC 4648 §3.5: exhaustively, for one byte and for two."""
    size = length - 1
    canonical = {encode(value.to_bytes(size))[-1] for value in range(256**size)}

    def passes(last: str) -> bool:
        try:
            decode("A" * (length - 1) + last)
        except Malformed:
            return False
        return True

    assert canonical == {last for last in ALPHABET if passes(last)}


@given(st.binary())
def test_what_is_encoded_is_decoded(data):
    """Round trip, and without padding."""
    text = encode(data)

    assert data == decode(text)
    assert base64.urlsafe_b64encode(data).decode().rstrip("=") == text


@pytest.mark.row("JW-01")
@given(st.text(ALPHABET, max_size=12) | st.text(max_size=8))
def test_no_value_has_two_spellings(text):
    """Whatever is decoded is encoded to the same text; nothing else is raised."""
    try:
        data = decode(text)
    except Malformed:
        return
    assert text == encode(data)
