"""The key of a request: one for each request that the upstream could tell from another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clients.request import RawRequest
from broker.errors import Rejected
from broker.proxy.key import build_secret, derive_key, encode
from broker.proxy.request import parse_request

PARTS = st.lists(st.lists(st.binary(max_size=8), max_size=4), max_size=4)
SECRET = bytes(range(32))


def decode(encoded: bytes) -> list[list[bytes]]:
    """Read the parts back, which is only possible if no two of them are written alike."""

    def number() -> int:
        nonlocal encoded
        value, encoded = int.from_bytes(encoded[:4], "big"), encoded[4:]
        return value

    def text() -> bytes:
        nonlocal encoded
        length = number()
        value, encoded = encoded[:length], encoded[length:]
        return value

    parts = [[text() for _ in range(number())] for _ in range(number())]
    assert b"" == encoded
    return parts


@given(PARTS)
def test_parts_are_read_back_from_what_is_hashed(parts):
    """So different parts are different texts: a length stands before each value."""
    assert parts == decode(encode(parts))


@given(PARTS, PARTS)
def test_different_parts_have_different_keys(one, other):
    """And equal ones the same."""
    keys = derive_key(SECRET, one), derive_key(SECRET, other)

    assert (one == other) == (keys[0] == keys[1])


def test_a_key_means_nothing_to_another_process():
    """It is keyed: who has keys of one process cannot try secrets on them."""
    parts = [[b"checkout"], [b"s3cret"]]

    assert derive_key(build_secret(), parts) != derive_key(build_secret(), parts)


def request(body: str, authorization: str | None = None):
    """A parsed request; None if it is refused."""
    raw = RawRequest(
        content_types=("application/x-www-form-urlencoded",),
        query=b"",
        authorization=() if authorization is None else (authorization,),
        body=body.encode(),
    )
    try:
        return parse_request(raw, upstream="idp", parameters={"tenant", "x"})
    except Rejected:
        return None


FIELDS = st.fixed_dictionaries(
    {
        "client_id": st.sampled_from(["a", "ab", "checkout"]),
        "client_secret": st.sampled_from(["s", "t", "ab", "a b"]),
    },
    optional={
        "scope": st.sampled_from(["a", "b", "a b", "b a", "a b c"]),
        "audience": st.sampled_from(["a", "b", "https%3A%2F%2Fa"]),
        "resource": st.sampled_from(["a", "https%3A%2F%2Fa"]),
        "tenant": st.sampled_from(["a", "b"]),
        "x": st.sampled_from(["a", "tenant"]),
    },
)


def form_of(fields: dict[str, str]) -> str:
    whole = {"grant_type": "client_credentials"} | fields
    return "&".join(f"{name}={value.replace(' ', '+')}" for name, value in whole.items())


@given(FIELDS, FIELDS)
def test_requests_have_one_key_exactly_if_the_same_goes_upstream(one, other):
    """Nothing that is forwarded is missing from the key, and nothing else is in it."""
    first, second = request(form_of(one)), request(form_of(other))
    sent = [(each.headers(), each.body()) for each in (first, second)]
    keys = [derive_key(SECRET, each.parts) for each in (first, second)]

    assert (sent[0] == sent[1]) == (keys[0] == keys[1])


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("Basic YTpiK2M=", id="plus"),  # a:b+c
        pytest.param("Basic YTpiJTIwYw==", id="escaped-space"),  # a:b%20c
        pytest.param("Basic YTpiIGM=", id="space"),  # a:b c
        pytest.param("Basic YTpiJWM=", id="percent-sign"),  # a:b%c
    ],
)
def test_a_secret_is_told_apart_as_it_was_sent(header):
    """RFC 6749 §2.3.1 decodes all but the last to one secret; an upstream may not decode at all."""
    others = {"Basic YTpiK2M=", "Basic YTpiJTIwYw==", "Basic YTpiIGM=", "Basic YTpiJWM="} - {header}
    own = request("grant_type=client_credentials", header)

    assert header == own.headers()["Authorization"]
    assert derive_key(SECRET, own.parts) not in {
        derive_key(SECRET, request("grant_type=client_credentials", other).parts)
        for other in others
    }


def test_the_method_is_part_of_the_key():
    """An upstream may take one and refuse the other."""
    basic = request("grant_type=client_credentials", "Basic YTpi")
    post = request("grant_type=client_credentials&client_id=a&client_secret=b")

    assert derive_key(SECRET, basic.parts) != derive_key(SECRET, post.parts)
