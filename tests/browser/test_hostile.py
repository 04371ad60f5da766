"""Attack: write rows whose every text is meant for the browser of whoever audits them."""

import csv
import io
from dataclasses import replace
from urllib.parse import quote

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.db.loop import run_apart
from broker.explorer.sources import Means
from tests.browser.haunted import Row, columns, genuine, haunt, insert, spoil
from tests.fixtures.postgres import OneDatabase, make_database
from tests.hostile import HOSTILE

pytestmark = pytest.mark.asyncio(loop_scope="session")
KINDS = genuine()
# Those that are short, as one: what they do to a page they do there as well. What is an address, or
# fills a page, is tried alone.
_ALONE = ("address", "attribute", "long", "words", "marks", "arabic", "wide")
TEXTS = [
    " ".join(text for name, text in HOSTILE.items() if name not in _ALONE),
    *(HOSTILE[name] for name in _ALONE),
]

# Whatever a page holds that none of ours holds, and whatever of it is broken; all of it unfolded.
_WRONG = """() => {
    const wrong = [];
    for (const one of document.querySelectorAll("details")) one.open = true;
    if (window.pwned) wrong.push("a script of others ran");
    const scripts = document.querySelectorAll("script").length;
    if (scripts !== 1) wrong.push(`${scripts} scripts`);
    for (const one of document.querySelectorAll("*")) {
        for (const {name} of one.attributes)
            if (name.startsWith("on") || name === "style") wrong.push(`${one.tagName} ${name}`);
        if (["IFRAME", "OBJECT", "EMBED", "BASE", "B", "set", "animate"].includes(one.tagName))
            wrong.push(one.tagName);
        if (one.tagName === "IMG" && !one.src.startsWith(location.origin)) wrong.push(one.src);
        const link = one.getAttribute("href");
        if (link !== null && !/^[/#]/.test(link)) wrong.push(`link ${link}`);
    }
    const page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) wrong.push(`too wide: ${page.scrollWidth}`);
    return wrong;
}"""


@pytest.fixture(scope="module")
def haunted(postgres: EmbeddedPostgres, template: OneDatabase) -> OneDatabase:
    """A trail to which somebody has written who should not."""
    return make_database(postgres, template.name)


@pytest.fixture
def means(means: Means, haunted: OneDatabase) -> Means:
    """What an auditor of that one has."""
    return replace(means, url=haunted.auditor_url)


def write(haunted: OneDatabase, rows: list[Row]) -> list[str]:
    return run_apart(lambda: insert(haunted.superuser_url, rows))


async def look(visitor, path, *, status=200):
    await visitor.go(path, status=status)
    assert [] == await visitor.page.evaluate(_WRONG), path


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_a_record_runs_or_breaks_a_page(visitor, haunted, kind):
    """Each text in each column and each member, on the page of its row and on that of its tree."""
    record = KINDS[kind]
    of_it = {"kind": record["kind"], "outcome": record["outcome"]}
    rows = [(haunt(record, text), columns(text, txn=text, **of_it)) for text in TEXTS]
    ids = write(haunted, rows)
    for id_ in ids:
        await look(visitor, f"/rows/{id_}")
    for id_ in ids if kind == "issued" else ids[:1]:
        await look(visitor, f"/rows/{id_}/transaction")


async def test_nothing_of_a_list_runs_or_breaks_it(visitor, haunted):
    """All of them together, where kind and outcome are hostile as well."""
    txn = "of-the-list"
    record = KINDS["issued"]
    texts = HOSTILE.values()
    rows = [(haunt(record, one), columns(one, txn=txn, kind=one, outcome=one)) for one in texts]
    write(haunted, rows)
    await look(visitor, f"/?txn={txn}")

    assert len(HOSTILE) == await visitor.page.locator("#rows tbody tr").count()


@pytest.mark.parametrize(
    "path", ["/?client={}&tz=UTC", "/?since={}", "/?{}=1", "/rows/{}", "/open?link={}"]
)
async def test_nothing_of_an_address_runs_or_breaks_the_page(visitor, path):
    """A link that somebody sends: in a field, as the name of one, and in the path."""
    for text in HOSTILE.values():
        refused = any(ord(char) < 32 or ord(char) == 127 for char in text)
        status = {"/?c": 400 if refused else 200, "/ro": 404, "/op": 403}.get(path[:3], 400)
        await look(visitor, path.format(quote(text[:1000])), status=status)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_of_any_shape_is_shown(visitor, haunted, kind):
    """Every member of every wrong kind: a page, and no fault of the explorer's own."""
    record, txn = KINDS[kind], f"of-{kind}"
    of_it = {"kind": record["kind"], "outcome": record["outcome"]}
    rows = [(spoilt, columns(None, txn=txn, **of_it)) for spoilt in spoil(record)]
    faults = {}
    for id_, (spoilt, _) in zip(write(haunted, rows), rows, strict=True):
        response = await visitor.context.request.get(f"{visitor.origin}/rows/{id_}")
        if response.status != 200:
            faults[str(spoilt)] = response.status

    assert {} == faults
    await look(visitor, f"/?txn={txn}")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '"x"', '{"a":' * 500 + "[[]]" + "}" * 500], ids=repr
)
async def test_a_record_that_is_none_keeps_no_other_from_being_seen(visitor, haunted, text):
    """It is said to be none, and to be looked at by verification."""
    txn = f"of-no-record-{len(text)}"
    (none, other) = write(
        haunted, [(text, columns("x", txn=txn)), (KINDS["issued"], columns("y", txn="another"))]
    )
    response = await visitor.context.request.get(f"{visitor.origin}/rows/{none}")
    listed = await visitor.context.request.get(f"{visitor.origin}/?txn={txn}")

    assert {response.status, listed.status} <= {200, 503}
    await look(visitor, f"/rows/{other}")


async def test_a_spreadsheet_computes_nothing_of_what_is_exported(visitor, haunted):
    """Whatever begins like a formula is text to it."""
    txn = "of-formulas"
    formulas = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "=cmd|'/c calc'!A1",
        "\uff1d1",
    ]
    write(haunted, [(haunt(KINDS["issued"], one), columns(one, txn=txn)) for one in formulas])
    response = await visitor.context.request.get(f"{visitor.origin}/export.csv?txn={txn}&names=yes")
    text = await response.text()
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]

    assert 200 == response.status, text
    assert [] == [
        one for one in cells if one.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    ]
    assert "attachment" in response.headers["content-disposition"]
