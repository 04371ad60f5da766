"""What a search finds, as a file."""

import csv
import io
import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def download(visitor, path, name):
    await visitor.go(path)
    async with visitor.page.expect_download() as waiting:
        await visitor.page.get_by_role("link", name=name, exact=True).click()
    return await (await waiting.value).path()


async def test_a_table_has_the_rows_of_the_search_and_no_names_unless_asked(visitor):
    """Comma separated; of persons the pseudonyms."""
    for name, shown in (("CSV", False), ("CSV with names", True)):
        text = (await download(visitor, "/?client=checkout", name)).read_text("utf-8")
        rows = list(csv.DictReader(io.StringIO(text)))

        assert ["checkout"] == [row["client"] for row in rows]
        assert shown == ("alice" in text)


async def test_lines_are_the_records_as_they_were_hashed(visitor, told):
    """One a line."""
    lines = (await download(visitor, "/?subject=alice", "JSON lines")).read_text().splitlines()

    assert {told.first, told.second, told.refused} == {json.loads(line)["id"] for line in lines}
