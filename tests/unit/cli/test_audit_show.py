"""``broker audit show``: a token that is given out again very often, and one that obliges."""

from broker.cli.audit.show import print_transaction
from tests.transactions import made, transaction
from tests.unit.cli.rendering import printed


def shown(times: int, asked: str) -> str:
    """The tree of a token and of so many further times that it was given out."""
    again = [made(10 + number, jti="t1") for number in range(times)]
    rows = [(row | {"action": "reuse"}, record) for row, record in again]
    found = transaction(made(1, jti="t1"), *rows)
    return printed(lambda console: print_transaction(found, console, asked), 120)


def test_each_time_is_shown_while_there_are_few():
    """With its own row's id."""
    text = shown(3, "t1")

    assert 3 == text.count("given out again")
    assert all(f"t{number}" in text for number in (10, 11, 12))


def test_very_many_are_counted():
    """The number and the last time; and the one that was asked for."""
    text = shown(9, "t14")

    assert "↻ given out again 9 times, the last time 2026-11-24 09:14:21 UTC" in text
    assert 1 == text.count("the token t1")
    assert "t14" in text
    assert "← asked for" in text
    assert "t13" not in text


def test_what_the_policy_obliges_to_is_shown():
    """Beside the token that it is about, and beside no other."""
    row, record = made(1, jti="t1")
    found = transaction((row, record | {"obligations": ["alert"]}), made(2, jti="t2"))
    text = printed(lambda console: print_transaction(found, console, "t1"), 120)

    assert 1 == text.count("the policy obliges to: alert")
