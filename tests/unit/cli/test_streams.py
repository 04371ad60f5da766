"""Terminals that cannot show everything: the commands still say what they have to."""

import io

import pytest

import broker.cli


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("✓ good", b"+ good", id="good"),
        pytest.param("✗ bad → mend", b"x bad > mend", id="bad"),
        pytest.param("█░ 2 min …", b"#. 2 min ~", id="bar"),
        pytest.param("jürgen", b"j?rgen", id="a-name"),
    ],
)
def test_signs_have_a_spelling_in_ascii(text: str, expected: bytes):
    """Good and bad differ also where neither sign can be shown."""
    assert broker.cli.COMMANDS
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", errors="broker.signs") as stream:
        stream.write(text)
        stream.flush()
        assert expected == raw.getvalue()
