"""Rules are read off their source and the coverage of one evaluation."""

from broker.policy.snapshot import Snapshot
from broker.workbench.explain.rule import Place, Span, State, read_rules
from broker.workbench.explain.written import DataPlaces, find_row

TEXT = """# METADATA
# title: A package
package broker.exchange.some

# METADATA
# description: |
#   It holds where
#   one is one.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
\tinput.one == 1
\tinput.two == 2
}

default allow := false

# No METADATA: a comment.
allow if input.one

# METADATA
# custom: [not, an: object]
_private(value) := value

# METADATA
# : {
broken if false
"""


def span(row: int, column: int, *, covered: bool, end: int = 99) -> Span:
    """A part of one line."""
    return Span((row, column), (row, end), covered=covered)


def test_a_rule_has_the_state_that_coverage_shows() -> None:
    """Held by its head, failed at the last line that was looked at, or not looked at."""
    spans = [
        span(11, 1, covered=False),
        span(12, 2, covered=True),
        span(13, 2, covered=True),
        span(16, 1, covered=True),
        span(19, 1, covered=True),
        span(19, 10, covered=True),
        span(23, 1, covered=True),
        span(27, 1, covered=False),
        span(27, 11, covered=False),
    ]

    deny, allow, private, broken = read_rules("some.rego", TEXT, spans)

    assert (deny.package, deny.name, deny.state) == ("broker.exchange.some", "deny", State.FAILED)
    assert deny.description == "It holds where one is one."
    assert deny.code == "policy.denied"
    assert deny.stopped == Place("some.rego", 13)
    assert deny.stopped_text == "input.two == 2"
    assert (allow.name, allow.state, str(allow.place)) == ("allow", State.HELD, "some.rego:19")
    assert (allow.description, allow.function) == ("", False)
    assert (private.name, private.function, private.code) == ("_private", True, None)
    assert (broken.state, broken.description, broken.stopped) == (State.UNTRIED, "", None)


def test_what_is_no_module_has_no_rules() -> None:
    """Also a line that is not there keeps nobody from the others."""
    assert list(read_rules("x.rego", "deny if true", [span(1, 1, covered=True)])) == []
    assert list(read_rules("x.rego", "package x", [span(9, 1, covered=True)])) == []


YAML = b"""# grants
svc-a:
  svc-b: &row
    scopes: [a]
    scopes: [b]
    max_lifetime: 2m
  svc-c: *row
svc-x: 7
"""


def test_a_grant_is_found_with_its_line_wherever_it_is_written() -> None:
    """In a folder of its own, in one file for all, as JSON, and by an alias."""
    files: Snapshot = {
        "broker/grants/data.yaml": YAML,
        "broker/grants/svc-d/data.json": b'{"svc-b":\n {"scopes": []}}',
        "broker/data.yaml": b"grants:\n  svc-e:\n    svc-b: {}\n",
        "other/data.yaml": b"svc-a: {svc-b: {}}",
    }
    places = DataPlaces(files)

    found = {
        path: str(places.find_grant(*path))
        for path in (
            ("svc-a", "svc-b"),
            ("svc-a", "svc-b", "scopes"),
            ("svc-a", "svc-c", "max_lifetime"),
            ("svc-d", "svc-b", "scopes"),
            ("svc-e", "svc-b"),
            ("svc-e", "svc-b", "scopes"),
            ("svc-x", "svc-b"),
        )
    }
    assert found == {
        ("svc-a", "svc-b"): "broker/grants/data.yaml:3",
        ("svc-a", "svc-b", "scopes"): "broker/grants/data.yaml:5",
        ("svc-a", "svc-c", "max_lifetime"): "broker/grants/data.yaml:6",
        ("svc-d", "svc-b", "scopes"): "broker/grants/svc-d/data.json:2",
        ("svc-e", "svc-b"): "broker/data.yaml:3",
        ("svc-e", "svc-b", "scopes"): "None",
        ("svc-x", "svc-b"): "None",
    }


def test_data_that_cannot_be_read_has_no_lines() -> None:
    """A place is a help; its absence refuses nothing."""
    for content in (b"{", b"\xff\xfe\xfd", b"a: " + b"x" * 1024 * 1024 + b"\n"):
        assert DataPlaces({"broker/grants/data.yaml": content}).find_grant("a", "b") is None


def test_only_objects_are_grants() -> None:
    """Whatever stands in the data."""
    assert find_row({"a": {"b": {"scopes": []}, "c": None}}, "a") == {"b": {"scopes": []}}
    assert find_row({"a": []}, "a") == {}
    assert find_row(None, "a") == {}
