"""Both kinds of custody, so that one suite can ask the same of each."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.keys.envelope import Envelope
from broker.keys.provider import KeyProvider
from broker.keys.sealed import SealedKeys
from tests.fixtures.postgres import OneDatabase
from tests.integration.keys.process import Process

Make = Callable[[], KeyProvider]


@pytest.fixture
def make_token_keys(token_settings: dict[str, str]) -> Iterator[Make]:
    """Make a provider on that token, as each process has one of its own."""
    from broker.keys.pkcs11 import TokenKeys
    from broker.keys.token import Token, TokenAddress

    tokens = []

    def make() -> KeyProvider:
        settings = token_settings
        address = TokenAddress(
            Path(settings["module"]), settings["token_label"], Path(settings["pin_file"])
        )
        tokens.append(Token(address))
        return TokenKeys(tokens[-1])

    yield make
    for token in tokens:
        token.close()


@pytest.fixture(params=["postgresql", "pkcs11"])
def make_provider(request: pytest.FixtureRequest) -> Make:
    """Make one more provider over the same keys, as another process has it."""
    if request.param == "postgresql":
        return lambda: SealedKeys(Envelope(bytes(range(32))))
    make: Make = request.getfixturevalue("make_token_keys")
    return make


@pytest.fixture
async def start(clean: OneDatabase) -> AsyncIterator[Callable[..., Process]]:
    """Start one more process over the same database."""
    started: list[Process] = []

    def begin(**options: Any) -> Process:
        started.append(Process(clean.app_url, **options))
        return started[-1]

    yield begin
    for process in started:
        await process.database.aclose()
