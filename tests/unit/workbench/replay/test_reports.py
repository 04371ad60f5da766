"""The report as a comment and as a page: bounded, self-contained, and names are only text."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from broker.policy.difference import Kind
from broker.workbench.replay.change import Change
from broker.workbench.replay.markdown import MARK, MOST, render_markdown
from broker.workbench.replay.page import render_page
from broker.workbench.replay.past import Cause, Lost
from broker.workbench.replay.tally import Tally
from broker.workbench.replay.words import CAUSES
from tests.hostile import HOSTILE
from tests.replaying import past, report, tally_of

REFUSED = Change(Kind.REFUSED, "policy.denied; had orders.read")
WIDER = Change(Kind.WIDER_SCOPES, "orders.write")
PAST = past()


class Elements(HTMLParser):
    """What a browser makes elements of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def elements(page: str) -> Elements:
    parsed = Elements()
    parsed.feed(page)
    return parsed


def test_a_comment_says_what_it_amounts_to_first() -> None:
    """Then what was compared, then each group, and what was left out."""
    tally = tally_of([WIDER], [REFUSED], [])
    tally.lose(Lost(Cause.ERASED, 3))
    lines = render_markdown(report(tally)).splitlines()

    assert lines[0] == MARK
    assert lines[3] == ("🔴 **2 of 3 decisions change, and 1 of them widen what somebody gets.**")
    assert "| 🔴 **wider scopes** | svc&#45;a | svc&#45;b | orders&#46;write | 1 | 1 |" in lines
    assert lines[-1] == f"Not replayed: 3 {CAUSES[Cause.ERASED]}."


def test_a_comment_is_short_whatever_was_found() -> None:
    """No forge refuses it, and it ends with a whole line."""
    tally = Tally()
    for number in range(500):
        one = replace(PAST, client=f"{number}" + "|" * 500, targets="`" * 500)
        tally.add(one, (Change(Kind.REFUSED, "_" * 500), WIDER))
    text = render_markdown(report(tally))

    assert len(text) <= MOST
    assert "and 980 more" in text


@pytest.mark.parametrize(
    "name", [*HOSTILE.values(), "@everyone", "x | y", "https://evil.test", "#1", "<!--"]
)
def test_names_are_text_in_a_comment(name: str) -> None:
    """No link, no mention, no HTML, no new cell."""
    text = render_markdown(report(tally_of([REFUSED], decision=replace(PAST, client=name))))
    (row,) = (line for line in text.splitlines() if "newly refused" in line)
    cells = row.strip("|").split("|")

    assert len(cells) == 6
    assert not set(cells[1]) & set("<>@[]()`*_~/:\\")
    assert all(char.isprintable() for char in cells[1])


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_are_text_on_a_page(name: str) -> None:
    """Whatever a client is called, it makes no element."""
    plain = elements(render_page(report(tally_of([REFUSED]))))
    hostile = elements(
        render_page(report(tally_of([REFUSED], decision=replace(PAST, client=name, targets=name))))
    )

    assert [tag for tag, _ in plain.found] == [tag for tag, _ in hostile.found]


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    """It can be mailed, and opened from a disk without a network."""
    page = render_page(report(tally_of([REFUSED], [WIDER])))
    found = elements(page).found

    assert not {tag for tag, _ in found} & {"script", "link", "img", "iframe", "object", "base"}
    assert not {name for _, members in found for name in members} & {"src", "srcset", "action"}
    assert {members["href"] for _, members in found if "href" in members} == {"#main"}
    assert not re.search(r"url\(|@import|https?://", page)
    policies = [members for tag, members in found if tag == "meta" and "content" in members]
    assert {"default-src 'none'; style-src 'unsafe-inline'"} <= {
        str(members["content"]) for members in policies
    }


def test_a_page_shows_each_group_by_day() -> None:
    """A bar for each day on which anything was decided."""
    tally = Tally()
    for day in (21, 22, 22, 24):
        tally.add(replace(PAST, at=f"2026-11-{day}T12:00:00.000000Z"), (REFUSED,))
    tally.add(replace(PAST, at="2026-11-25T12:00:00.000000Z"), ())
    page = elements(render_page(report(tally)))

    bars = [members for tag, members in page.found if tag == "rect"]
    assert [bar["height"] for bar in bars] == ["50.0", "100.0", "50.0", "0.0"]
    assert "newly refused" in page.text


def test_a_page_without_a_change_says_so() -> None:
    """And has no table."""
    page = elements(render_page(report(tally_of([], []))))

    assert "All 2 decisions stay as they are." in page.text
    assert "table" not in {tag for tag, _ in page.found}


def test_every_cause_has_its_words() -> None:
    """A new one is given some, or this fails."""
    assert set(CAUSES) == set(Cause)
