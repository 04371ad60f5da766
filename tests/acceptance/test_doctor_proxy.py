"""``broker doctor`` at the token proxy: its upstreams, its store, and its own port."""

import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_doctor import examine, found
from tests.diagnosis import Change
from tests.loopback import http_answer, json_answer
from tests.proxying import Provider, provider, token


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    """The identity provider."""
    async with provider() as running:
        yield running


def before(idp: Provider, proxy: dict[str, Any] | None = None, **upstream: Any) -> Change:
    """Put the proxy before it."""

    def change(document: dict[str, Any], folder: Path) -> None:
        (folder / "proxy.key").write_text(base64.b64encode(bytes(32)).decode())
        (folder / "proxy.key").chmod(0o600)
        document.update(upstreams=[idp.settings(**upstream)], proxy=proxy or {})

    return change


async def test_an_upstream_that_refuses_who_does_not_authenticate_is_well(tmp_path, idp):
    """It is asked for a token by nobody, and no secret is needed for that."""
    finding = found(await examine(tmp_path, before(idp)), "token endpoint of idp")

    assert "good" == finding["mark"]
    assert [{"grant_type": "client_credentials"}] == idp.forms


@pytest.mark.parametrize(
    ("answer", "level", "said"),
    [
        pytest.param(json_answer(token()), "warning", "gives a token to anybody", id="generous"),
        pytest.param(
            http_answer(b"<html>", content_type="text/html"), "bad", "content_type", id="html"
        ),
        pytest.param(
            http_answer(b"", status="404 Not Found"), "warning", "does not answer as", id="404"
        ),
        pytest.param(
            http_answer(b"", status="302 Found", Location="/"), "bad", "redirect", id="redirect"
        ),
    ],
)
async def test_one_that_answers_something_else_is_named(tmp_path, idp, answer, level, said):
    """With what to look at."""
    idp.answer = answer
    finding = found(await examine(tmp_path, before(idp)), "token endpoint of idp")

    assert level == finding["mark"]
    assert said in finding["text"]


async def test_one_that_is_not_there_is_bad(tmp_path):
    """Nothing is fetched from it."""
    async with provider() as gone:
        pass
    finding = found(await examine(tmp_path, before(gone)), "token endpoint of idp")

    assert ("bad", "does not answer (unreachable)") == (finding["mark"], finding["text"])


async def test_metadata_of_another_issuer_is_named(tmp_path, idp):
    """RFC 8414 §3.3: and what to write instead."""
    changed = before(idp, token_endpoint=None, issuer=f"http://localhost:{idp.port}")
    finding = found(await examine(tmp_path, changed), "token endpoint of idp")

    assert ("bad", "does not answer (issuer_mismatch)") == (finding["mark"], finding["text"])
    assert "exactly as its metadata has it" in finding["remedy"]


async def test_the_store_is_asked_and_its_password_not_shown(tmp_path, idp, own_redis):
    """Without it the proxy goes on, so that is something to look at and not bad."""
    (tmp_path / "here").mkdir()
    (tmp_path / "gone").mkdir()
    proxy = {"store": {"url": own_redis.url, "key_file": "proxy.key", "deadline": "1s"}}
    there = await examine(tmp_path / "here", before(idp, proxy))
    own_redis.stop()
    gone = await examine(tmp_path / "gone", before(idp, proxy))

    assert "good" == found(there, "proxy store")["mark"]
    assert "warning" == found(gone, "proxy store")["mark"]
    assert own_redis.password not in there.stdout + gone.stdout


async def test_its_own_port_is_looked_at(tmp_path, idp):
    """As those of the other listeners."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changed = before(idp, {"listen": {"host": "127.0.0.1", "port": port}})
        finding = found(await examine(tmp_path, changed), "proxy.listen")

    assert ("bad", f"127.0.0.1:{port} is taken by another program") == (
        finding["mark"],
        finding["text"],
    )
