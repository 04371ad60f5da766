"""``broker audit ui`` as somebody types it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.postgres import OneDatabase

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "broker.cli", "audit", "ui", "--no-browser", *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def serving(bare: OneDatabase) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the link that it has printed."""
    process = start("--database-url", bare.auditor_url, "--timezone", "Asia/Tokyo")
    assert process.stdout is not None
    try:
        printed = [process.stdout.readline(), process.stdout.readline()]
        yield process, printed[1].strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_it_prints_a_link_that_opens_and_ends_when_told(serving, number):
    """The link is alone in its line; Ctrl-C is a good end, also while a page is open."""
    process, link = serving
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/open\?link=[A-Za-z0-9_-]{43}", link)
    with httpx.Client(follow_redirects=True, trust_env=False) as browser:
        page = browser.get(link)

        assert 200 == page.status_code
        assert "Asia/Tokyo" in page.text
        process.send_signal(number)
        _, complaints = process.communicate(timeout=20)

    assert (0, "") == (process.returncode, complaints)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timezone", "Mars/Olympus"], "--timezone: no such zone here"),
        (["--checkpoints", "nowhere"], "--checkpoints: there is no nowhere"),
        (["--public-key", "nowhere"], "--public-key: there is no text file nowhere"),
        (["--key-file", "nowhere"], "--key-file"),
        (["--port", "70000"], "--port"),
    ],
)
def test_what_it_cannot_use_is_named(bare, arguments, said):
    """Exit code 2, and no page."""
    process = start("--database-url", bare.auditor_url, *arguments)
    printed, complaints = process.communicate(timeout=60)

    assert 2 == process.returncode
    assert said in complaints
    assert "Traceback" not in complaints
    assert "open?link" not in printed


def test_a_port_that_is_taken_is_named(bare):
    """It is not another one that is served then: bookmarks would lead nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        process = start("--database-url", bare.auditor_url, "--port", port)
        _, complaints = process.communicate(timeout=60)

    assert 2 == process.returncode
    assert f"--port: 127.0.0.1:{port} cannot be used" in complaints
