"""What is asked: as an address says it, and as a command does."""

import re

import pytest

from broker.cli.audit.asked import FIELDS, option_of, parse_asked
from broker.cli.audit.source import Unclear
from broker.db.tables import audit_event
from broker.explorer.question import CHOICES


@pytest.mark.parametrize("column", ["kind", "outcome"])
def test_whatever_a_row_may_have_can_be_asked_for(column):
    """The closed sets of the table and of the question are one."""
    checks = [str(one.sqltext) for one in audit_event.constraints if hasattr(one, "sqltext")]
    check = next(text for text in checks if text.startswith(f"{column} IN"))

    assert set(re.findall(r"'(\w+)'", check)) == set(CHOICES[column])


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("value", ["", " ", "a\0", "a\n", "\x7f", "\ud800", "a" * 1025])
def test_no_option_takes_what_no_row_can_have(field, value):
    """And each says which it is; an empty one would ask for everything."""
    with pytest.raises(Unclear, match=f"^{re.escape(option_of(field))}: "):
        parse_asked({field: value})


def test_a_question_is_bound_to_what_was_written():
    """In whatever order: so an explorer and a command mean the same by a place in the pages."""
    one = parse_asked({"client": "a", "since": "24h", "until": None})
    other = parse_asked({"since": "24h", "client": "a"})

    assert one.context == other.context
    assert one.context != parse_asked({"client": "a"}).context
