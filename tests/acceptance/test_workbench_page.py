"""Who may change the copy: a form of these very pages, in a browser that was let in."""

import html
import re
from pathlib import Path

import httpx
import pytest

from tests.workbenching import GRANTS, working, write_policy

pytestmark = pytest.mark.usefixtures("opa")


def words(response: httpx.Response) -> str:
    """The words of a page, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def form(page: httpx.Response, text: str) -> dict[str, str]:
    """What the editor would send."""
    (was,) = re.findall(r'name="was" value="(\w+)"', page.text)
    return {"file": GRANTS, "was": was, "text": text}


async def test_only_a_form_of_these_pages_changes_anything(tmp_path: Path) -> None:
    """Another origin, another site, no origin, no session, another method or type: refused."""
    original = (write_policy(tmp_path) / GRANTS).read_text()
    async with working(tmp_path) as (workbench, scratch):
        here = f"http://{workbench.address}"
        async with (
            httpx.AsyncClient(base_url=here, timeout=60, trust_env=False) as client,
            httpx.AsyncClient(base_url=here, timeout=60, trust_env=False) as stranger,
        ):
            assert (await client.get(workbench.new_link())).status_code == 303
            page = await client.get("/")
            sent = form(page, original.replace("max_lifetime: 1m", "max_lifetime: 5m"))
            own = {"origin": here, "sec-fetch-site": "same-origin"}
            for who, headers in (
                (client, {}),
                (client, {"origin": "null"}),
                (client, {"origin": "http://evil.example"}),
                (client, own | {"sec-fetch-site": "same-site"}),
                (client, own | {"content-type": "text/plain"}),
                (client, own | {"host": "evil.example"}),
                (stranger, own),
            ):
                refused = await who.post("/edit", data=sent, headers=headers)
                assert refused.status_code in {403, 421}, headers
            assert (await client.post("/", data=sent, headers=own)).status_code == 405
            assert (await client.put("/edit", data=sent, headers=own)).status_code == 405
            assert (await client.get("/edit")).status_code == 405
            assert scratch.changed == ()

            saved = await client.post("/edit", data=sent, headers=own)
            assert (saved.status_code, scratch.changed) == (303, (GRANTS,))
            stale = await client.post("/edit", data=sent, headers=own)
            assert stale.status_code == 409
            outside = sent | {"file": "../../etc/passwd"}
            assert (await client.post("/edit", data=outside, headers=own)).status_code == 409
            twice = await client.post("/edit", content=b"file=a&file=b&was=c", headers=own)
            assert twice.status_code in {400, 403}
            assert (await client.get("/?file=../secret")).status_code == 404

            told = words(await client.get(saved.headers["location"]))
            assert "longer life inventory ledger 60 s → 300 s" in told
            assert "expected lives 1m" in told
            patch = await client.get("/change.patch")
            assert "+    max_lifetime: 5m" in patch.text
            assert "attachment" in patch.headers["content-disposition"]
            policy = patch.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe-inline" not in policy
    assert (tmp_path / "policies" / GRANTS).read_text() == original


async def test_a_mistake_is_named_by_its_file_and_line(tmp_path: Path) -> None:
    """With a link to it, and without the place of the copy."""
    write_policy(tmp_path)
    async with working(tmp_path) as (workbench, scratch):
        here = f"http://{workbench.address}"
        async with httpx.AsyncClient(base_url=here, timeout=60, trust_env=False) as client:
            await client.get(workbench.new_link())
            name = "broker/exchange/loop/loop.rego"
            text = scratch.read(name)
            scratch._write(name, text.replace("default reentry := false", "default reentry :="))
            page = await client.get(f"/?file={name}")

    assert "It cannot be used" in words(page)
    assert re.search(r'href="/\?file=broker%2Fexchange%2Floop%2Floop.rego&amp;line=\d+"', page.text)
    assert str(scratch.folder) not in page.text
