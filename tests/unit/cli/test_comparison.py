"""What two tokens side by side tell, whatever they hold."""

import pytest

from broker.cli.comparison import Column, compare, describe, render_lifetime
from broker.cli.unverified import UnverifiedToken, decode_unverified
from tests.jwts import CLIENT_KEY, jwt
from tests.unit.cli.rendering import rendered


def token(**claims: object) -> UnverifiedToken:
    return decode_unverified(jwt(claims, key=CLIENT_KEY))


def rows(before: UnverifiedToken, after: UnverifiedToken, **options: object) -> list[str]:
    text = rendered(compare(Column("before", before), Column("after", after), **options))
    return text.splitlines()[2:]


def test_what_became_of_each_scope_stands_beside_it():
    """Kept, gone and new scopes can be told apart without colour, in their order."""
    before, after = token(scope="orders.read orders.write"), token(scope="orders.read stock.read")

    shown = [line.split() for line in rows(before, after, notes={"stock.read": "from orders.read"})]

    assert [
        ["scope", "orders.read", "orders.read"],
        ["orders.write", "-", "orders.write"],
        ["+", "stock.read"],
        ["from", "orders.read"],
    ] == shown


def test_a_chain_is_read_downwards():
    """Who acts stands first, and under it for whom."""
    after = token(act={"sub": "inventory", "act": {"sub": "checkout"}})

    shown = [line.split() for line in rows(token(), after)]

    assert [["act", "·", "inventory"], ["└", "for", "checkout"]] == shown


def test_a_shorter_life_is_a_shorter_bar():
    """Both lifetimes have one scale, and a life of seconds is still seen."""
    before, after = token(iat=0, exp=3600), token(iat=0, exp=10)

    (line,) = rows(before, after, claims=["lifetime"])

    assert 15 == line.count("█")
    assert "1 h" in line
    assert "10 s" in line


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "1 s"),
        (60, "1 min"),
        (90, "90 s"),
        (120, "2 min"),
        (3600, "1 h"),
        (5400, "90 min"),
        (86400, "1 d"),
        (129600, "36 h"),
        (-5, "-5 s"),
    ],
)
def test_a_lifetime_is_said_in_a_unit_that_fits(seconds: int, expected: str):
    """As people say it, and exactly."""
    assert expected == render_lifetime(seconds)


@pytest.mark.parametrize("width", [40, 80, 110])
def test_everything_fits_the_width(width: int):
    """No line is longer than the terminal, and nothing is left out to make it so."""
    before = token(sub="X" * 60, aud=["x" * 40, "y" * 40], scope="one two")
    after = token(sub="Z" * 60, aud="z" * 50, scope="two", purpose={"why": "because"})

    text = rendered(compare(Column("before", before), Column("after", after)), width)

    assert all(len(line) <= width for line in text.splitlines())
    assert [60, 60] == [text.count("X"), text.count("Z")]


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("\x1b[2Jalice", id="escape-sequence"),
        pytest.param("alice\r\x08", id="carriage-return"),
        pytest.param("\u202eecila", id="right-to-left"),
        pytest.param("\x9b31malice", id="c1-control"),
    ],
)
def test_a_token_cannot_write_to_the_terminal(hostile: str):
    """What a server put into a claim is shown, and never obeyed."""
    evil = token(
        sub=hostile, aud=[hostile], scope=hostile, act={"sub": hostile}, x={hostile: [hostile]}
    )

    both = rendered(compare(Column("before", evil), Column("after", evil)))
    alone = rendered(describe(Column("token", evil)))

    assert set() == {"\x1b", "\r", "\x08", "\u202e", "\x9b"} & set(both + alone)


def test_only_the_claims_asked_for_are_shown():
    """In the order asked, absent ones too."""
    shown = describe(Column("token", token(sub="alice", aud="checkout")), claims=("aud", "act"))

    assert ["aud", "checkout", "act", "·"] == rendered(shown).split()[-4:]


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": 1e400, "iat": 0}, id="infinite-exp"),
        pytest.param({"exp": "soon", "iat": []}, id="text-for-time"),
        pytest.param({"exp": 10**30, "iat": 0}, id="huge-exp"),
        pytest.param({"scope": 5, "scp": {"a": 1}}, id="number-for-scope"),
        pytest.param({"aud": {"a": 1}}, id="object-for-aud"),
        pytest.param({"act": "checkout"}, id="text-for-act"),
        pytest.param({"act": {"act": {"act": None}}}, id="nameless-actors"),
        pytest.param({"sub": None}, id="null-sub"),
    ],
)
def test_any_claims_can_be_shown(claims: dict[str, object]):
    """A token is shown, however wrong it is: that is when one looks at it."""
    odd = token(**claims)

    assert rendered(compare(Column("before", odd), Column("after", odd)))
    assert rendered(describe(Column("token", odd)))
