"""The syntax of scope: RFC 6749 §3.3 to the letter, and nothing normalised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import DecisionRejected, Reason
from broker.policy.scopes import split_scope

SCOPE_CHARACTERS = "".join(chr(c) for c in range(0x21, 0x7F) if c not in (0x22, 0x5C))


def test_an_absent_scope_asks_for_the_default():
    """RFC 6749 §3.3: what that is, the grant says."""
    assert () == split_scope(None)


@pytest.mark.row("OA-3.3-02")
def test_repeats_collapse_and_order_stays():
    """RFC 6749 §3.3: the list is unordered and means a set."""
    assert ("b", "a", "A") == split_scope("b a b A")


@pytest.mark.row("OA-3.3-01", "ATK-SCP-01")
@pytest.mark.parametrize(
    "scope",
    [
        pytest.param('a"b', id="quote"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("a\tb", id="tab"),
        pytest.param("a\nb", id="newline"),
        pytest.param("a\u00a0b", id="no-break-space"),
        pytest.param("é", id="not-ascii"),
        pytest.param("a\0", id="nul"),
        pytest.param(" a", id="leading-space"),
        pytest.param("a ", id="trailing-space"),
        pytest.param("a\n", id="trailing-newline"),
        pytest.param("a  b", id="double-space"),
        pytest.param(" ", id="only-a-space"),
        pytest.param("\u043erders.read", id="cyrillic-homograph"),
        pytest.param("\uff4frders.read", id="full-width"),
        pytest.param("orders\u200b.read", id="zero-width"),
        pytest.param("\u202eorders.read", id="right-to-left"),
    ],
)
def test_anything_else_is_malformed(scope):
    """RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E, one SP between; look-alikes are not the same."""
    with pytest.raises(DecisionRejected) as rejected:
        split_scope(scope)

    assert Reason.SCOPE_MALFORMED is rejected.value.reason


@given(st.lists(st.text(SCOPE_CHARACTERS, min_size=1), min_size=1, unique=True))
def test_every_well_formed_scope_comes_back_unchanged(scopes):
    """RFC 6749 §3.3: joining and splitting are inverse."""
    assert tuple(scopes) == split_scope(" ".join(scopes))


@given(st.text())
def test_any_text_is_split_or_refused(text):
    """Nothing but a refusal comes out of hostile input, and nothing that was not in it."""
    try:
        scopes = split_scope(text)
    except DecisionRejected:
        return
    assert set(scopes) == set(text.split(" "))
