"""docs/how-to/connect-a-library.md shows what works: its examples run, with its versions."""

import asyncio
import json
import re

import pytest
from joserfc.jwk import ECKey

from scripts import install_oauth_clients
from tests.clients.libraries import (
    BROKER_ISSUER,
    NOT_RUN,
    SOURCES,
    Loopback,
    javascript,
    private_jwk,
)
from tests.configuration import secret
from tests.jwts import subject_jwt
from tests.markdown import ROOT, blocks
from tests.wire import ACCESS_TOKEN

PAGE = ROOT / "docs" / "how-to" / "connect-a-library.md"
OURS = {
    "https://broker.example.com": BROKER_ISSUER,
    "inventory.read": "orders.read",
    "inventory": "svc-b",
}
GIVEN = """
import { text } from 'node:stream/consumers'
const { secret, subjectToken } = JSON.parse(await text(process.stdin))
"""


def example(language: str, naming: str, client: str) -> str:
    """The page's one block that names this, spoken of our broker."""
    (text,) = (b.text for b in blocks(PAGE) if b.language == language and naming in b.text)
    for theirs, ours in {**OURS, "checkout": client}.items():
        text = text.replace(theirs, ours)
    return text


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_javascript_example_runs_as_it_stands(broker, library):
    """Whoever pastes it and fills in a secret has a token."""
    block = example("js", f"from '{library}'", "svc-a")
    program = javascript(library, f"{GIVEN}{block}\nconsole.log(JSON.stringify(token))")
    if not program.is_here():
        pytest.skip(NOT_RUN.format(library))
    asked = {"secret": secret("svc-a"), "subjectToken": subject_jwt()}
    token = await program.ask(broker.process.url, asked)

    assert (ACCESS_TOKEN, "orders.read") == (token["issued_token_type"], token["scope"])
    assert ["issued"] == await broker.audited()


async def test_authlib_s_example_with_a_key_runs_as_it_stands(broker):
    """The example with a secret is run against ``broker dev``, with the first page."""
    with_secret = example("python", "session.fetch_token", "svc-jwt")
    with_key = example("python", "PrivateKeyJWT", "svc-jwt")
    imports, _, call = with_secret.partition("\n\nsession = ")
    _, fetch = re.split(r"^(?=token = )", call, flags=re.MULTILINE)
    names = {
        "key": ECKey.import_key(private_jwk()),
        "subject_token": subject_jwt(aud="svc-jwt"),
        "mount": lambda session: session.mount(BROKER_ISSUER, Loopback(broker.process.url)),
    }
    text = f"{imports}\n{with_key}\nmount(session)\n{fetch}\nsession.close()"
    await asyncio.to_thread(exec, compile(text, PAGE.name, "exec"), names)

    assert "orders.read" == names["token"]["scope"]
    assert ["issued"] == await broker.audited()


def test_the_go_example_calls_what_the_tested_program_calls():
    """It is not compiled by itself; the program that the tests run is."""
    calls, tested = (
        set(re.findall(r"tokenexchange\.\w+", text))
        for text in (example("go", "ExchangeToken", "svc-a"), (SOURCES / "zitadel.go").read_text())
    )

    assert calls
    assert calls <= tested


def test_the_versions_on_the_page_are_those_that_are_tested():
    """A version that nobody tried is not claimed."""
    pins = json.loads((SOURCES / "package.json").read_text())["dependencies"]
    (authlib,) = re.findall(
        r"^authlib==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE
    )
    programs = {one.name: one.requires for one in install_oauth_clients.GO_PROGRAMS}
    zitadel = programs["zitadel"].rpartition(" v")[2]
    expected = {
        "Authlib": authlib,
        "oauth4webapi": pins["oauth4webapi"],
        "openid-client": pins["openid-client"],
        "zitadel/oidc": zitadel,
    }

    assert expected == dict(
        re.findall(r"^\| (\S+) \| (\d[\d.]*) \|", PAGE.read_text(), re.MULTILINE)
    )
