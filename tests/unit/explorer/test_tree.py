"""The picture of a transaction: every row once, within bounds, and no text of others acts."""

import re
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.explorer.choose import MOST, MOST_BESIDE, choose
from broker.explorer.layout import lay_out, walk
from broker.explorer.tree import BETWEEN, GAP, WIDTH, draw_tree, height_of, left_of
from tests.hostile import HOSTILE
from tests.transactions import IDP, made, transaction

SVG = "{http://www.w3.org/2000/svg}"


def parse(drawn):
    """The picture, which is well-formed whatever stands in it."""
    return ET.fromstring(str(drawn))


def links(drawn):
    return [link.get("href") for link in parse(drawn).iter(f"{SVG}a")]


def texts(drawn, looks=None):
    return [
        text.text
        for text in parse(drawn).iter(f"{SVG}text")
        if looks is None or looks in text.get("class", "").split()
    ]


def story():
    return transaction(
        made(1, scopes=["inventory.read"], held=["inventory.read", "orders.write"]),
        made(2, "t1", client="inventory", targets=["ledger"]),
        made(
            3,
            "t1",
            client="inventory",
            targets=["ledger"],
            outcome="refused",
            reasons=["policy.scope_not_held"],
            asked={"scope": "ledger.append"},
        ),
    )


def test_each_card_says_who_exchanged_what_for_what():
    """Whose token, who acts for which target, with which scopes, when, and why not."""
    drawn = draw_tree(story())

    assert ["alice", "checkout → inventory", "inventory → ledger", "inventory → ledger"] == texts(
        drawn, "name"
    )
    assert ["orders.write"] == texts(drawn, "cut")
    assert ["policy.scope_not_held"] == texts(drawn, "reason")
    assert ["asked: ledger.append"] == texts(drawn, "asked")
    assert "2026-11-24 09:14:04" in texts(drawn, "quiet")
    assert "09:14:05" in texts(drawn, "quiet")  # the date stands once


def test_a_token_that_was_given_out_again_says_which_one():
    """A card of its own beside the token's, without scopes that it would repeat."""
    row, record = made(2, jti="t1")
    drawn = draw_tree(transaction(made(1, jti="t1"), (row | {"action": "reuse"}, record)))

    assert 1 == texts(drawn).count("given out again")
    assert "t1" in texts(drawn, "quiet")
    assert 1 == len(texts(drawn, "kept"))
    assert "the token t1 given out again to checkout" in str(drawn)


def test_each_card_is_a_link_to_its_row_and_says_all_of_it_in_words():
    """For whoever does not see the picture."""
    drawn = draw_tree(story(), current="t2")
    titles = [link.find(f"{SVG}title").text for link in parse(drawn).iter(f"{SVG}a")]

    assert ["/rows/t1", "/rows/t2", "/rows/t3"] == links(drawn)
    assert (
        "issued to checkout for inventory, 2026-11-24 09:14:04 UTC; on behalf of alice; with"
        " inventory.read; without orders.write, which the token before it had; for 2 min"
    ) == titles[0]
    assert "because of policy.scope_not_held" in titles[2]
    assert ["/rows/t2"] == [
        link.get("href") for link in parse(drawn).iter(f"{SVG}a") if link.get("aria-current")
    ]


def test_times_are_in_the_zone_that_was_asked_for():
    """And the picture says which one."""
    drawn = draw_tree(story(), zone=ZoneInfo("Asia/Kolkata"))

    assert "2026-11-24 14:44:04" in texts(drawn, "quiet")
    assert "Times are in Asia/Kolkata." in parse(drawn).find(f"{SVG}desc").text


def test_a_derived_scope_says_what_it_follows_from():
    """It is no scope that was held."""
    derived = [{"scope": "stock.read", "from": "orders.write"}]
    drawn = draw_tree(
        transaction(made(1, scopes=["stock.read"], held=["orders.write"], derived=derived))
    )

    assert ["stock.read ← orders.write"] == texts(drawn, "derived")


def test_of_a_sealed_row_the_pseudonym_stands_for_the_person():
    """Without the audit key nobody is named, and the tree is the same."""
    row, record = made(1, subject="hmac:abc")
    record |= {"subject": record["personal"]["subject"], "personal": {"sealed": True}}

    assert "hmac:abc" == texts(draw_tree(transaction((row, record))), "name")[0]


def test_a_row_whose_token_was_ours_and_is_gone_says_so():
    """Of rows that were removed for their age, what is left is still shown."""
    row, record = made(2, "t1")
    record["subject_token"] = {"issuer": record["issuer"]}

    assert "a token of ours, without its row" in texts(draw_tree(transaction((row, record))))


ROWS = st.lists(
    st.tuples(st.integers(-3, 60), st.sampled_from(["issued", "refused", "done"])), max_size=60
).map(
    lambda rows: [
        made(number, f"t{parent}", outcome=outcome) for number, (parent, outcome) in enumerate(rows)
    ]
)


@given(ROWS)
def test_every_row_is_drawn_once_or_counted_where_it_is_left_out(rows):
    """What is missing in a picture would be missing in an audit."""
    drawn = draw_tree(transaction(*rows))
    shown = [href for href in links(drawn) if href.startswith("/rows/")]

    assert len(shown) == len(set(shown))
    if not any("more" in text for text in texts(drawn, "name")):
        assert {f"/rows/{row['id']}" for row, _ in rows} == set(shown)


@given(ROWS)
def test_no_two_cards_overlap(rows):
    """Nor does a card reach into the next column."""
    roots = choose(
        transaction(*rows), current=None, given={}, zone=ZoneInfo("UTC"), height=height_of
    )
    lay_out(roots, gap=GAP)
    places = list(walk(roots))

    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            beside = abs(left_of(one) - left_of(other)) >= WIDTH + BETWEEN
            above = one.top + one.height <= other.top or other.top + other.height <= one.top
            assert beside or above


def test_a_token_that_was_exchanged_very_often_has_a_card_for_the_rest():
    """It counts them, and leads to the list of them."""
    rows = [made(1)]
    rows += [made(n, "t1", outcome="refused" if n > 30 else "issued") for n in range(2, 42)]
    drawn = draw_tree(transaction(*rows), given={"tz": "Asia/Kolkata"})

    assert f"{40 - MOST_BESIDE} more, 11 refused" == texts(drawn, "name")[-1]
    assert "/?tz=Asia%2FKolkata&parent=t1" == links(drawn)[-1]


def test_the_row_that_was_asked_for_is_drawn_however_many_there_are():
    """With everything on the way to it."""
    rows = [made(1)]
    rows += [made(n, f"t{max(1, n // 3)}") for n in range(2, 900)]
    drawn = draw_tree(transaction(*rows), current="t898")
    shown = links(drawn)

    assert {"/rows/t898", "/rows/t299", "/rows/t99", "/rows/t33", "/rows/t11"} <= set(shown)
    assert MOST < len(shown) < 3 * MOST


def test_trees_of_very_many_tokens_are_bounded_as_well():
    """Rows that nobody of ours wrote: a thousand beginnings in one transaction."""
    drawn = draw_tree(transaction(*(made(n, f"foreign-{n}") for n in range(1000))))

    assert f"{1000 - MOST} more" == texts(drawn, "name")[-1]
    assert "/?txn=t1" == links(drawn)[-1]


def test_a_chain_of_a_thousand_is_drawn_without_end_but_within_bounds():
    """Deeper than any setting allows: somebody wrote it into the database."""
    drawn = draw_tree(transaction(*(made(n, f"t{n - 1}") for n in range(1000))))

    assert MOST + 1 == len(links(drawn))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_of_others_stays_text(text):
    """In every place that a row or a record has, and whatever is too long is cut."""
    row, record = made(
        1,
        client=text,
        targets=[text, text],
        scopes=[text],
        held=[text, f"{text}2"],
        derived=[{"scope": text, "from": text}],
        subject=text,
        subject_token={"issuer": text},
        policy={"revision": text},
    )
    refused = made(2, "t1", outcome="refused", reasons=[text] * 9, asked={"scope": text})
    drawn = draw_tree(transaction((row, record), refused), current="t1")
    tags = {element.tag.removeprefix(SVG) for element in parse(drawn).iter()}

    assert {"svg", "title", "desc", "g", "path", "rect", "text", "a"} >= tags
    assert ["/rows/t1", "/rows/t2"] == links(drawn)
    assert len(drawn) < 40_000
    assert all(len(shown) <= 80 for shown in texts(drawn))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\x00-\x1f\x7f]", drawn)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from(
        [
            "personal",
            "subject_token",
            "reasons",
            "derived",
            "asked",
            "lifetime",
            "policy",
            "subject",
        ]
    ),
)
def test_a_record_that_is_none_of_ours_is_drawn_all_the_same(value, member):
    """Whatever stands where something else should be."""
    row, record = made(1)
    drawn = draw_tree(transaction((row, {**record, member: value})))

    assert ["/rows/t1"] == links(drawn)


def test_where_a_token_came_from_is_told_without_the_scheme():
    """Every issuer has it, and there is little room."""
    assert f"a token of {IDP.removeprefix('https://')}" in texts(draw_tree(story()))
