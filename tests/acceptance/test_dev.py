"""``broker dev``: one command on a fresh machine, and what it shows is true."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.jwts import unverified_claims

ROOT = Path(__file__).parents[2]
IMPORTED_FROM = os.pathsep.join(
    [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
)
USUAL = (8080, 9090, 9400)
_WITHIN = 100  # seconds, on a machine that is busy with the rest of the suite


class Dev:
    """``broker dev`` as a process, without a terminal; what it printed so far."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        user: int | None = None,
        interpreter: str = sys.executable,
    ) -> None:
        self.folder = folder
        self.printed = folder / f"printed-{time.monotonic_ns()}"
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [interpreter, "-m", "broker.cli", "dev", *arguments],
                **as_user(user),
                cwd=folder,
                env=os.environ | {"COLUMNS": "80", "PYTHONPATH": IMPORTED_FROM},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def text(self) -> str:
        return self.printed.read_text()

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(_WITHIN)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Return once it has printed this."""
        deadline = time.monotonic() + _WITHIN
        while self.text.count(words) < times:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def end(self) -> None:
        """Leave nothing of it behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
            self.process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like a fresh clone, as far as ``broker dev`` looks at it."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Any]:
    """Start ``broker dev``, and end what is left of it."""
    started: list[Dev] = []

    def run(*arguments: str, where: Path = folder, **options: Any) -> Dev:
        started.append(Dev(where, *arguments, **options))
        return started[-1]

    yield run
    for dev in started:
        dev.end()


@pytest.fixture
def taken() -> Iterator[None]:
    """The usual ports, each taken by this test unless somebody else has it anyway."""
    with contextlib.ExitStack() as stack:
        for port in USUAL:
            server = stack.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                server.bind(("127.0.0.1", port))
                server.listen()
        yield


def processes_in(folder: Path) -> list[str]:
    """The commands of all processes that were started with this folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


@pytest.mark.timeout(300)
def test_the_show_is_told_from_a_deep_folder_with_all_ports_taken(tmp_path: Path, taken, start):
    """Exit code 0, in plain lines of at most 80 columns, and everything is stopped."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    shutil.copytree(ROOT / "policies", deep / "policies")

    dev = start("--once", where=deep)

    assert 0 == dev.wait(), dev.text
    assert "\x1b" not in dev.text
    assert all(len(line) <= 80 for line in dev.text.splitlines())
    assert "not as expected" not in dev.text
    assert 2 == dev.text.count("is taken)")  # the broker's and the identity provider's
    shown = re.sub(r"\s+", " ", dev.text)
    for words in (
        "act · checkout",
        "act checkout inventory └ for checkout",
        "aud checkout - checkout + inventory",
        "+ stock.read from orders.write",
        "400 invalid_scope A requested scope is not held by the subject token.",
        "400 invalid_request The delegation chain would be too long.",
        "400 invalid_request The subject token was not issued for this client.",
        "policy.scope_not_held",
        "delegation.depth_exceeded",
        "subject_token.audience_mismatch",
        "201 ✓ 3 live tokens: 2 of checkout, 1 of inventory",
        "✓ inventory asks about the token that checkout called it with before after",
        "✓ ledger asks about the token that inventory called it with before after",
        "active true false",
        "subject_token.revoked",
        "200 a new token",
        "✓ The trail is intact: 11 rows under",
        "Both tokens verify by the published keys, and every answer has its row.",
        "See it all in a browser: this serves on, and ends with a link.",
    ):
        assert words in shown
    assert 1 == len(set(re.findall(r"txn · (\S+ \S+) ", shown)))
    assert [] == processes_in(deep)


@pytest.mark.timeout(300)
def test_it_serves_on_until_it_is_told_to_stop(folder: Path, start):
    """The line that is printed works as it is pasted; SIGTERM ends all of it, without a traceback.

    Meanwhile a saved grant is live, and a broken file leaves the old policy in force and is said.
    """
    dev = start()
    dev.wait_for("Ctrl-C stops it all")

    first = paste(dev)
    grants = folder / "policies/broker/grants/data.yaml"
    grants.write_text(grants.read_text().replace("max_lifetime: 2m", "max_lifetime: 30s"))
    dev.wait_for("grants/data.yaml: live as")
    second = paste(dev)
    rule = folder / "policies/broker/exchange/depth/depth.rego"
    text = rule.read_text()
    rule.write_text(text + "\nbroken :=\n")
    dev.wait_for("depth.rego: not live")
    third = paste(dev)
    rule.write_text(text)
    dev.wait_for("depth.rego: live as")
    dev.wait_for("✓ checkout at inventory for alice", times=3)
    doctor, query = (run_printed(dev, command) for command in ("doctor", "audit query"))
    revoke = run_printed(dev, "revoke --client checkout --reason leaked --dry-run")
    shutil.copytree(folder / "policies", folder / "next")
    replayed = run_printed(dev, "policy replay --policies next", code=1)
    explored = explore(dev)
    dev.process.send_signal(signal.SIGTERM)

    assert 0 == dev.wait(), dev.text
    assert "runs here and is ready" in doctor
    assert "policy.scope_not_held" in query
    assert "would revoke client checkout" in revoke
    # What was decided before the grant was edited, and would be now.
    assert re.search(r"shorter life +checkout +inventory +120 s → 30 s", replayed)
    assert "policy.scope_not_held" in explored
    assert '<bdi class="name">alice</bdi>' in explored
    claims = [unverified_claims(answer["access_token"]) for answer in (first, second, third)]
    assert [120, 30, 30] == [each["exp"] - each["iat"] for each in claims]
    assert re.search(r"depth\.rego:\s*\d+", dev.text.partition("not live")[2])
    assert "Traceback" not in dev.text
    assert "eyJ" not in dev.text
    assert "eyJ" not in (folder / ".broker/broker.log").read_text()
    assert [] == processes_in(folder)


def explore(dev: Dev) -> str:
    """Open the link that was printed; the page that it leads to."""
    link = re.search(r"^http://127\.0\.0\.1:\d+/open\?link=\S+$", dev.text, re.MULTILINE)
    assert link is not None, dev.text
    with httpx.Client(follow_redirects=True, trust_env=False) as browser:
        return browser.get(link[0]).raise_for_status().text


def paste(dev: Dev) -> dict[str, Any]:
    """Run the ``curl`` line that was printed, in a shell, in the same folder."""
    if shutil.which("curl") is None:
        pytest.skip("not run: there is no curl here")
    command = dev.text[dev.text.index("\ncurl ") :].partition("\n\n")[0]
    told = subprocess.run(
        ["sh", "-c", command], cwd=dev.folder, capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout)


def run_printed(dev: Dev, command: str, *, code: int = 0) -> str:
    """Run a command that was printed for this folder, and return what it printed."""
    (printed,) = re.findall(rf"^(\S+ {command} --config .*)$", dev.text, re.MULTILINE)
    arguments = [sys.executable, "-m", "broker.cli", *printed.split()[1:]]
    told = subprocess.run(
        arguments,
        cwd=dev.folder,
        env=os.environ | {"COLUMNS": "200", "PYTHONPATH": IMPORTED_FROM},
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == told.returncode, told.stderr
    return told.stdout


@pytest.mark.timeout(300)
def test_a_second_one_in_the_same_folder_says_so(folder: Path, start):
    """And the first is not disturbed; a third, after it, is quick with what the first has made."""
    first = start()
    first.wait_for("Ctrl-C stops it all")

    second = start("--once")

    assert 2 == second.wait(), second.text
    assert f"another `broker dev` (process {first.process.pid}) is running here" in re.sub(
        r"\s+", " ", second.text
    )
    assert first.process.poll() is None
    first.process.send_signal(signal.SIGINT)
    assert 0 == first.wait()
    assert "Traceback" not in first.text
    third = start("--once")
    assert 0 == third.wait(), third.text
    assert "up to date" in third.text


@pytest.mark.timeout(300)
def test_interrupting_the_start_stops_what_was_started(folder: Path, start):
    """Ctrl-C at any time: no traceback, no process left, and the next start works."""
    dev = start("--once")
    dev.wait_for("A token exchange broker")
    dev.process.send_signal(signal.SIGINT)

    assert 130 == dev.wait(), dev.text
    assert "Traceback" not in dev.text
    assert [] == processes_in(folder)
    again = start("--once")
    assert 0 == again.wait(), again.text


@pytest.mark.timeout(300)
def test_a_policy_that_does_not_compile_is_said_with_its_line(folder: Path, start):
    """Instead of a show that cannot be given: exit code 2."""
    (folder / "policies/broker/exchange/depth/depth.rego").write_text("package broker\nx :=\n")

    dev = start("--once")

    assert 2 == dev.wait(), dev.text
    assert "depth.rego:" in dev.text
    assert "Traceback" not in dev.text
    assert [] == processes_in(folder)


@pytest.mark.timeout(300)
def test_data_that_belongs_to_somebody_else_is_said(folder: Path, start):
    """A folder that cannot be written to is named, with what to do."""
    (folder / "file").write_text("")

    dev = start("--once", "--data-dir", "file/below")

    assert 2 == dev.wait(), dev.text
    assert "--data-dir" in dev.text
    assert "Traceback" not in dev.text


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: the suite itself runs as one")
def test_an_ordinary_user_can_run_it(start):
    """Everything that it needs is in a folder of theirs."""
    user = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory() as name:
        theirs = Path(name, "theirs")
        shutil.copytree(ROOT / "policies", theirs / "policies")
        Path(name).chmod(0o755)
        os.chown(theirs, user, user)
        interpreter = interpreter_for(user)

        dev = start("--once", where=theirs, user=user, interpreter=interpreter)

        assert 0 == dev.wait(), dev.text
        assert user == (theirs / ".broker/broker.yaml").stat().st_uid
        assert [] == processes_in(theirs)


def interpreter_for(user: int) -> str:
    """A Python that this user may run, and that finds what ours finds."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            tried = subprocess.run(
                [candidate, "-c", "import broker.cli, asyncpg, orjson"],
                **as_user(user),
                cwd="/",
                env={"PYTHONPATH": IMPORTED_FROM},
                capture_output=True,
                check=False,
            )
            if tried.returncode == 0:
                return candidate
    pytest.skip("not run: another user can reach no interpreter, or not this checkout")


def as_user(user: int | None) -> dict[str, Any]:
    """What makes a process another user's."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}
