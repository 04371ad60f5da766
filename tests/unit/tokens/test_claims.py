"""Reading one claim: a value in our types, or a refusal, and never anything else."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.tokens.claims import (
    find_count,
    find_name,
    is_name,
    read_audiences,
    read_date,
    read_name,
    read_scopes,
    require,
    to_datetime,
)
from broker.tokens.refusal import Cause, TokenRefused

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=6,
)


def cause(read, *args) -> Cause:
    """Why a claim is refused."""
    with pytest.raises(TokenRefused) as caught:
        read(*args)
    return caught.value.cause


@pytest.mark.row("JW-15")
@pytest.mark.parametrize("value", [1, 1.5, 1_700_000_000, 253_402_300_799, 0.001])
def test_a_date_is_a_number_of_seconds_after_1970(value):
    """RFC 7519 §2: integer or fraction."""
    assert value == read_date({"exp": value}, "exp")


@pytest.mark.row("JW-15", "ATK-TIME-01")
@pytest.mark.parametrize(
    "value",
    [0, -1, True, None, "1", [], {}, math.nan, math.inf, -math.inf, 253_402_300_800, 10**30],
)
def test_anything_else_is_no_date(value):
    """RFC 7519 §2: and a bool is a number to Python only."""
    assert Cause.CLAIM_INVALID == cause(read_date, {"exp": value}, "exp")


@pytest.mark.row("JW-15", "INV-2")
@given(st.floats(0.001, 253_402_300_799))
def test_a_date_is_rounded_down_and_never_fails(seconds):
    """Invariant 2: a life never grows by rounding."""
    moment = to_datetime(seconds)

    assert datetime(1970, 1, 1, tzinfo=UTC) <= moment
    assert 0 <= seconds - moment.timestamp() < 1


@pytest.mark.row("JW-18")
@given(st.text())
def test_a_name_is_measured_in_bytes(text):
    """JW-18: not empty, at most 1 KiB of UTF-8; what UTF-8 cannot hold never gets here."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return
    assert (0 < size <= 1024) == is_name(text)


@pytest.mark.row("JW-18")
@pytest.mark.parametrize("value", [None, 1, True, [], ["a"], {}, "", "x" * 1025, "é" * 513])
def test_what_is_no_name_is_refused_and_not_absent(value):
    """JW-18: null is a wrong form."""
    assert Cause.CLAIM_INVALID == cause(read_name, {"sub": value}, "sub")
    assert Cause.CLAIM_INVALID == cause(find_name, {"sub": value}, "sub")
    assert Cause.CLAIM_MISSING == cause(read_name, {}, "sub")
    assert find_name({}, "sub") is None


@pytest.mark.row("JW-17")
@given(json_values)
def test_an_audience_is_one_string_or_an_array_of_them(value):
    """RFC 7519 §4.1.3: whatever it is, it is either that or a refusal."""
    good = isinstance(value, str) or (
        isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    )
    try:
        audiences = read_audiences({"aud": value})
    except TokenRefused as refused:
        assert Cause.CLAIM_INVALID is refused.cause
        values = value if isinstance(value, list) else [value]
        assert not good or any(each == "" or len(each.encode()) > 1024 for each in values)
    else:
        assert good
        assert audiences == tuple(value if isinstance(value, list) else [value])


@pytest.mark.row("TX-4.2-01", "ATK-SCP-02")
@given(json_values)
def test_scopes_are_scope_tokens_or_a_refusal(value):
    """RFC 6749 §3.3: no scope has a space, a quote or a character beyond ASCII."""
    try:
        scopes = read_scopes({"scope": value}, "scope")
    except TokenRefused as refused:
        assert Cause.CLAIM_INVALID is refused.cause
        assert not isinstance(value, str)
    else:
        assert all(
            scope and all(char == "!" or "#" <= char <= "~" for char in scope) for scope in scopes
        )
        assert all("\\" not in scope for scope in scopes)


@pytest.mark.row("TX-4.2-01")
@given(st.lists(st.from_regex(r"[!#-\[\]-~]{1,8}", fullmatch=True), max_size=5))
def test_text_and_array_hold_the_same_scopes(scopes):
    """TX-4.2-01: two spellings of one set."""
    as_text, as_array = ({"scope": value} for value in (" ".join(scopes), scopes))

    assert frozenset(scopes) == read_scopes(as_text, "scope") == read_scopes(as_array, "scope")


@pytest.mark.row("TX-2.1-31")
@given(json_values)
def test_a_required_claim_has_a_value(value):
    """TX-2.1-31: null, empty text, empty array and empty object are none."""
    empty = value is None or (isinstance(value, str | list | dict) and not value)
    if empty:
        assert Cause.CLAIM_MISSING is cause(require, {"x": value}, ("x",))
    else:
        require({"x": value}, ("x",))
    assert Cause.CLAIM_MISSING is cause(require, {"x": 1}, ("x", "y"))


@pytest.mark.row("ATK-ACT-01")
@given(json_values)
def test_a_count_is_a_whole_number_from_0(value):
    """ATK-ACT-01: 1.0 and true are none, and absent is told apart."""
    if type(value) is int and value >= 0:
        assert value == find_count({"n": value}, "n")
    else:
        assert Cause.CLAIM_INVALID is cause(find_count, {"n": value}, "n")
    assert find_count({}, "n") is None
