"""What the pages show is run: the first page against `broker dev`, the policy by `opa test`."""

import ast
import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import yaml

from tests.markdown import ROOT, blocks, name_of, pages

READY = 90.0  # seconds; a first start makes a database and compiles the policy
BIN = Path(sys.executable).parent
INDEX = ROOT / "docs" / "index.md"
README = ROOT / "README.md"
LIBRARIES = ROOT / "docs" / "how-to" / "connect-a-library.md"
POLICY = ROOT / "docs" / "how-to" / "write-a-policy.md"


class Dev:
    """`broker dev`, running in a folder of its own."""

    def __init__(self, folder: Path, document: dict) -> None:
        self.folder = folder
        self.broker = document["issuer"]
        self.idp = document["issuers"][0]["issuer"]
        self.admin = document["admin"]["port"]

    def here(self, text: str) -> str:
        """What a page says, with the ports and paths of this run."""
        return (
            text.replace("http://127.0.0.1:8080", self.broker)
            .replace("http://127.0.0.1:9400", self.idp)
            .replace("https://broker.example.com", self.broker)
            .replace(".venv/bin/", f"{BIN}/")
        )

    def shell(self, text: str) -> str:
        """Run a block as a reader would, and return what it printed."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(text)],
            cwd=self.folder,
            env=os.environ | {"COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == ended.returncode, ended.stderr
        return ended.stdout


@pytest.fixture
async def dev(tmp_path: Path, opa: Path) -> AsyncIterator[Dev]:
    """A reader's second terminal: `broker dev` has told its story, and serves."""
    process = await asyncio.create_subprocess_exec(
        BIN / "broker",
        "dev",
        *("--policies", str(ROOT / "policies")),
        cwd=tmp_path,
        env=os.environ | {"BROKER_OPA": str(opa)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    told = asyncio.Event()
    said = asyncio.create_task(_listen(process.stdout, told))
    try:
        async with asyncio.timeout(READY):
            await told.wait()
        assert process.returncode is None, await said
        document = yaml.safe_load((tmp_path / ".broker" / "broker.yaml").read_text())
        yield Dev(tmp_path, document)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
        await said


async def _listen(output: asyncio.StreamReader, told: asyncio.Event) -> str:
    """Return all that is printed; ``told`` is set at the end of the story, or of the process.

    At the end of the story the user is cut off: a token that was fetched before is dead then.
    """
    lines = []
    async for line in output:
        lines.append(line.decode())
        if "Ctrl-C stops it all" in lines[-1]:
            told.set()
    told.set()
    return "".join(lines)


@pytest.mark.timeout(240)
async def test_a_newcomer_has_a_token_from_the_first_page(dev: Dev) -> None:
    """Each block of docs/index.md that says so runs as it stands, one after the other."""
    runnable = [block.text for block in blocks(INDEX) if block.mark == "run"]
    fetched, exchanged, shown = [await asyncio.to_thread(dev.shell, text) for text in runnable]
    answer = orjson.loads(exchanged)

    assert "" == fetched
    assert {"access_token", "issued_token_type", "token_type", "expires_in", "scope"} == {*answer}
    assert "inventory.read" == answer["scope"]
    assert "inventory" in shown
    assert answer["access_token"] not in shown

    # The front page, where the reader may have come from.
    for block in blocks(README):
        if block.mark == "run":
            await asyncio.to_thread(dev.shell, block.text)

    # The same with a library, as its page has it.
    block = next(block for block in blocks(LIBRARIES) if block.language == "python")
    names = {
        "secret": (dev.folder / ".broker" / "clients" / "checkout.secret").read_text().strip(),
        "subject_token": (dev.folder / "alice.token").read_text().strip(),
    }
    await asyncio.to_thread(_run_python, dev.here(block.text), names)

    assert "inventory.read" == names["token"]["scope"]


def _run_python(text: str, names: dict) -> None:
    # On loopback only; the page itself shows https.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    try:
        exec(compile(text, "connect-a-library.md", "exec"), names)
        names["session"].close()
    finally:
        del os.environ["AUTHLIB_INSECURE_TRANSPORT"]


def test_the_rule_of_the_how_to_passes_its_own_test(opa: Path, tmp_path: Path) -> None:
    """What the page on policies shows works beside the stock policy, and covers every line."""
    folder = tmp_path / "policies"
    subprocess.run(["cp", "-r", str(ROOT / "policies"), str(folder)], check=True)
    written = []
    for block in blocks(POLICY):
        place = re.match(r"# policies/(\S+)\n", block.text)
        if block.language == "rego" and place:
            path = folder / place[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            written.append(path)

    rule = next(path for path in written if not path.name.endswith("_test.rego"))
    for arguments in (
        ["fmt", "--fail", *map(str, written)],
        ["check", "--strict", "--schema", str(folder / "schemas"), "-b", str(folder)],
    ):
        _opa(opa, *arguments)
    # Its own tests only: the others are the stock policy's, and long.
    tests = ("test", "--run", "broker.rules", "--timeout", "60s", "-b", str(folder))
    passed = _opa(opa, *tests)
    coverage = orjson.loads(_opa(opa, *tests, "--coverage"))["files"]

    assert re.search(r"PASS: [1-9]", passed)
    assert 100 == coverage[str(rule)]["coverage"]
    assert 2 == len(written)


def _opa(opa: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [str(opa), *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert 0 == ended.returncode, f"{arguments[0]}: {ended.stdout[-2000:]}{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in pages()])
def test_shell_and_python_of_every_page_is_well_formed(path: Path) -> None:
    """Whoever pastes a block does not meet a missing quote."""
    for block in blocks(path):
        if block.language == "sh":
            ended = subprocess.run(
                ["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False
            )
            assert 0 == ended.returncode, ended.stderr
        if block.language == "python":
            ast.parse(block.text)
