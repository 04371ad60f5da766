"""``broker doctor`` about the sealed trail: where operators look first."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.audit.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.checkpoint_key import derive_keys
from broker.db.engine import Database
from tests.diagnosis import configured, diagnose, findings
from tests.fixtures.postgres import OneDatabase, execute, one_more
from tests.retaining import MIDNIGHT, old_writer
from tests.sealing import KEYS, ORIGIN, seal_now, write_rows

LONG_AGO = "id, by, action, details, at) VALUES (gen_random_uuid(), 'x', 'audit.query', '{}'"


async def examine(folder: Path, made: OneDatabase, file: str | None = None) -> dict[str, Any]:
    """Run ``broker doctor``; what it says of the trail, by subject."""

    def change(document: dict[str, Any], _: Path) -> None:
        if file is not None:
            document["audit"]["checkpoints"]["file"] = file

    config = configured(folder, change, database_url=made.app_url)
    result = await asyncio.to_thread(diagnose, "doctor", config)
    return {each["subject"]: each for each in findings(result)}


async def write(
    made: OneDatabase, *, sealed: bool = True, old: bool = False, keys: Any = KEYS
) -> None:
    """A few rows; ``old``: of a writer that wrote long ago."""
    database = Database(made.app_url)
    if old:
        async with old_writer(database, MIDNIGHT):
            pass
    else:
        await write_rows(database)
    if sealed:
        await seal_now(database, keys=keys)
    await database.aclose()


@pytest.fixture
def made(postgres: Any, template: OneDatabase) -> Any:
    """A database of the test's own."""
    with one_more(postgres, template.name) as database:
        yield database


def head_ahead(folder: Path) -> None:
    """A file with a checkpoint of a size that the database never had."""
    note = sign_checkpoint(Checkpoint(ORIGIN, 999, bytes(32)), KEYS, datetime.now(UTC))
    (folder / "checkpoints").write_text(f"{note}\n")


def no_file_of_checkpoints(folder: Path) -> None:
    """Somebody's notes."""
    (folder / "checkpoints").write_text("call Alice\n\n— bob\n\n")


async def test_a_trail_that_is_sealed_is_well(tmp_path: Path, made: OneDatabase) -> None:
    """How old the newest checkpoint is, over how many batches, and that nothing waits."""
    await write(made)
    found = (await examine(tmp_path, made))["audit checkpoints"]

    assert ("good", True) == (found["mark"], found["text"].endswith("everything is sealed")), found


async def test_batches_that_wait_a_moment_are_no_trouble(tmp_path: Path, made: OneDatabase) -> None:
    """A checkpoint comes every ten seconds: they are told and nothing is to be done."""
    await write(made)
    await write(made, sealed=False)
    found = (await examine(tmp_path, made))["audit checkpoints"]

    assert ("good", True) == (found["mark"], "3 batches wait" in found["text"]), found


@pytest.mark.parametrize(
    ("before", "text"),
    [
        pytest.param(True, "batches wait, the oldest for", id="sealing-has-stopped"),
        pytest.param(False, "there is none, and rows wait for", id="never-sealed"),
    ],
)
async def test_a_trail_that_nobody_seals_is_named(
    tmp_path: Path, made: OneDatabase, before: bool, text: str
) -> None:
    """Until somebody does, a tail that was cut off would not show."""
    if before:
        await write(made)
    await write(made, sealed=False, old=True)
    found = (await examine(tmp_path, made))["audit checkpoints"]

    assert ("warning", True) == (found["mark"], text in found["text"]), found
    assert "broker audit seal" in found["remedy"]


async def test_a_checkpoint_of_another_key_is_named(tmp_path: Path, made: OneDatabase) -> None:
    """The brokers have another file, or somebody else has sealed."""
    await write(made, keys=derive_keys(b"x" * 32, ORIGIN))
    found = (await examine(tmp_path, made))["audit checkpoints"]

    assert ("bad", True) == (found["mark"], "audit.checkpoints.key_file" in found["text"]), found


async def test_checkpoints_that_stay_in_the_database_are_a_hint(
    tmp_path: Path, made: OneDatabase
) -> None:
    """It works, and an older copy of the database would not show."""
    found = (await examine(tmp_path, made))["checkpoints outside"]

    assert ("good", "name a place in audit.checkpoints") == (found["mark"], found["remedy"])


@pytest.mark.parametrize(
    ("prepare", "mark", "text"),
    [
        pytest.param(lambda _: None, "good", "nothing there contradicts", id="not-begun-yet"),
        pytest.param(head_ahead, "bad", "has a checkpoint of size 999", id="ahead"),
        pytest.param(no_file_of_checkpoints, "bad", "checkpoints", id="another-kind-of-file"),
        pytest.param(
            lambda folder: (folder / "checkpoints").mkdir(), "bad", "directory", id="a-folder"
        ),
    ],
)
async def test_the_file_outside_is_compared(
    tmp_path: Path, made: OneDatabase, prepare: Callable[[Path], None], mark: str, text: str
) -> None:
    """Readable, and not ahead of the database: else this is an older copy of it."""
    await write(made)
    prepare(tmp_path)
    found = (await examine(tmp_path, made, "checkpoints"))["checkpoints outside, file"]

    assert (mark, True) == (found["mark"], text in found["text"]), found
    assert (mark == "bad") == bool(found["remedy"])


async def test_what_auditors_did_and_nobody_recorded_is_named(
    tmp_path: Path, made: OneDatabase
) -> None:
    """Brokers put it into the trail; if it waits for long none does."""
    execute(
        made.superuser_url,
        f"INSERT INTO audit_access ({LONG_AGO}, now() - interval '1 h')",
    )
    found = (await examine(tmp_path, made))["audit access"]

    assert ("warning", True) == (found["mark"], "1 queries and exports wait" in found["text"])
