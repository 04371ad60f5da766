"""``broker policy replay``, as it is typed, over a real trail and over what was exported of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from broker.audit.erase import erase
from broker.cli import build_app
from broker.db.engine import Database
from broker.domain import Exchange, Principal
from broker.errors import ConfigurationError, Reason
from broker.policy.bundle import build_bundle, render_archive
from broker.workbench.candidate import open_candidate
from broker.workbench.replay.replayer import CEILING
from tests import builders
from tests.audit import VAULT, attempt, now
from tests.configuration import write_keys
from tests.fixtures.postgres import OneDatabase, execute, one_more
from tests.looking import looks, running_trail
from tests.replaying import write_decided, write_policy
from tests.sealing import seal_now

# Grants by the client: what one of them gets differs from policy to policy.
RULE = """
default decision := {"allow": false, "reasons": ["policy.target_not_granted"]}

decision := {
	"allow": true, "reasons": [], "targets": ["svc-b"], "scopes": input.request.scopes,
	"derived": [], "lifetime": _lives[input.client.id], "mode": "delegation", "max_depth": 3,
	"reentry": false, "purpose": null, "claims": [], "obligations": [],
}

_lives := {%s}
"""
LIVES = {"live": {"a": 60, "b": 60}, "narrower": {"a": 60, "b": 30}, "wider": {"a": 60, "c": 60}}


def asked(client: str, subject: str = "alice", **overrides: Any) -> Exchange:
    """An exchange that a client asks for just now."""
    at = overrides.pop("at", now())
    token = builders.verified_token(
        principal=Principal(builders.IDP, subject),
        issued_at=at - timedelta(minutes=1),
        expires_at=at + timedelta(hours=1),
    )
    return builders.exchange(client=builders.client(client), subject=token, at=at, **overrides)


async def write(url: str, live: Path) -> None:
    """Four decisions by a, two by b, one refusal of c, and one from before the policy."""
    old = asked("a", at=now() - timedelta(days=3))
    exchanges = [old, *(asked("a") for _ in range(3)), asked("b"), asked("b", "bob"), asked("c")]
    with open_candidate(live, ceiling=CEILING) as policy:
        await write_decided(url, policy, *exchanges)
    database = Database(url)
    async with running_trail(database) as trail:
        made = attempt(exchange=asked("a"), delegation=None)
        await trail.refuse(made, Reason.SUBJECT_TOKEN_EXPIRED)
    await seal_now(database)
    await database.aclose()


@pytest.fixture(scope="module")
def policies(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Built bundles by name."""
    folder = tmp_path_factory.mktemp("policies")
    built = {}
    for name, lives in LIVES.items():
        members = ", ".join(f'"{client}": {life}' for client, life in lives.items())
        bundle = build_bundle(write_policy(folder / name, RULE % members), opa=opa)
        built[name] = folder / f"{name}.tar.gz"
        built[name].write_bytes(render_archive(bundle, "wasm"))
    return built


@pytest.fixture(scope="module")
def trail(postgres: Any, template: OneDatabase, policies: dict[str, Path]) -> Iterator[OneDatabase]:
    """A database with what is written above."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url, policies["live"]))
        yield made


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit key."""
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder)
    return folder / "audit.key"


def run(*arguments: object) -> Result:
    """What a command does."""
    group = {str(arguments[0])}
    return CliRunner().invoke(
        build_app(group), [str(each) for each in arguments], env={"COLUMNS": "110"}
    )


Replay = Callable[..., Result]


@pytest.fixture
def replay(trail: OneDatabase, key: Path, policies: dict[str, Path]) -> Replay:
    """Runs it over the trail, with the audit key."""

    def replay(name: str, *arguments: object) -> Result:
        place = ("--database-url", trail.auditor_url, "--key-file", key)
        return run("policy", "replay", "--policies", policies[name], *place, *arguments)

    return replay


def said(result: Result) -> dict[str, Any]:
    """What it says as JSON."""
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_policy_that_decided_changes_nothing(replay: Replay) -> None:
    """Exit code 0; and what was refused before the policy is counted."""
    result = replay("live", "--format", "json")

    document = said(result)
    assert result.exit_code == 0
    assert (document["decisions"], document["changed"]) == (7, 0)
    assert document["not_replayable"] == {"before_policy": 1}
    assert sum(document["days"].values()) == 7
    assert len(document["days"]) == 2


@pytest.mark.parametrize(
    ("name", "code", "kinds"),
    [
        pytest.param("narrower", 1, {"shorter_life": 2}, id="nobody gets more"),
        pytest.param("wider", 3, {"permitted": 1, "refused": 2}, id="somebody gets more"),
    ],
)
def test_what_changes_has_its_exit_code(
    replay: Replay, name: str, code: int, kinds: dict[str, int]
) -> None:
    """So that a pipeline can let the one through and stop at the other."""
    result = replay(name, "--format", "json")

    assert (result.exit_code, said(result)["kinds"]) == (code, kinds)


def test_a_group_says_who_what_and_which_rows(replay: Replay, trail: OneDatabase) -> None:
    """By client, target and what changes; the rows can be looked up."""
    permitted, refused = said(replay("wider", "--format", "json"))["groups"]
    rows = execute(trail.auditor_url, "SELECT id FROM audit_event WHERE client = 'b'")

    assert (permitted["client"], permitted["what"], permitted["widens"]) == (
        *("c", "orders.read", True),
    )
    assert (refused["client"], refused["target"], refused["breaks"]) == ("b", "svc-b", True)
    assert refused["what"] == "policy.target_not_granted; had orders.read"
    assert {one["id"] for one in refused["examples"]} == {str(row["id"]) for row in rows}


def test_a_table_shows_what_widens_first_and_no_person(replay: Replay) -> None:
    """And ends with what it amounts to."""
    lines = replay("wider").stdout.splitlines()
    (first, *_), text = [line for line in lines if line.startswith(("+", "✗"))], "\n".join(lines)

    assert first.startswith("+ newly permitted  c")
    assert "3 of 7 decisions change, and 1 of them widen what somebody gets." in lines[-1]
    assert "1  refused before the policy was asked" in text
    assert not any(name in text for name in ("alice", "bob", builders.IDP))


@pytest.mark.parametrize(
    ("arguments", "decisions"),
    [
        pytest.param(("--since", "24h"), 6, id="since"),
        pytest.param(("--until", "24h"), 1, id="until"),
        pytest.param(("--client", "b"), 2, id="client"),
        pytest.param(("--target", "svc-b"), 7, id="target"),
        pytest.param(("--client", "c", "--target", "svc-b"), 1, id="both"),
        pytest.param(("--sample", "1"), 7, id="all-of-it"),
    ],
)
@pytest.mark.parametrize("source", ["database", "file"])
def test_what_is_replayed_can_be_narrowed(
    replay: Replay,
    opened: Path,
    policies: dict[str, Path],
    source: str,
    arguments: tuple[str, ...],
    decisions: int,
) -> None:
    """Alike from the database and from a file."""
    if source == "database":
        result = replay("live", *arguments, "--format", "json")
    else:
        given = ("--policies", policies["live"], "--from", opened)
        result = run("policy", "replay", *given, *arguments, "--format", "json")

    assert said(result)["decisions"] == decisions


def test_a_limit_takes_the_newest_rows(replay: Replay) -> None:
    """The one that was refused before the policy is the newest."""
    document = said(replay("live", "--limit", "3", "--format", "json"))

    assert (document["decisions"], document["not_replayable"]) == (2, {"before_policy": 1})


def test_a_sample_is_the_same_from_a_file_and_from_the_database(
    replay: Replay, opened: Path, policies: dict[str, Path]
) -> None:
    """Rows are chosen by their ids, by nothing else."""
    chosen = ("--sample", "0.5", "--format", "json")
    one = said(replay("wider", *chosen))
    other = said(
        run("policy", "replay", "--policies", policies["wider"], "--from", opened, *chosen)
    )

    ids = [
        {each["id"] for group in document["groups"] for each in group["examples"]}
        for document in (one, other)
    ]
    assert ids[0] == ids[1]
    assert (one["decisions"], one["kinds"]) == (other["decisions"], other["kinds"])


def test_that_somebody_looked_is_on_record(
    fresh: OneDatabase, key: Path, policies: dict[str, Path]
) -> None:
    """Before anything is shown, with what was asked for; also where nothing was there."""
    place = ("--database-url", fresh.auditor_url, "--key-file", key)
    result = run("policy", "replay", "--policies", policies["live"], *place, "--client", "a")

    (look,) = looks(fresh)
    assert result.exit_code == 2
    assert "Nothing was replayed" in result.stdout
    assert (look["action"], look["details"]["client"]) == ("audit.replay", "a")


def test_without_the_audit_key_nothing_is_replayed(
    trail: OneDatabase, policies: dict[str, Path]
) -> None:
    """And it says what is missing."""
    result = run(
        *("policy", "replay", "--policies", policies["live"], "--database-url", trail.auditor_url)
    )

    assert result.exit_code == 2
    assert "--key-file" in result.stderr


def test_an_erased_person_is_counted_and_not_replayed(
    fresh: OneDatabase, key: Path, policies: dict[str, Path]
) -> None:
    """What was asked for her is nobody's to read any more."""

    async def prepare() -> None:
        with open_candidate(policies["live"], ceiling=CEILING) as policy:
            await write_decided(fresh.app_url, policy, asked("a", "bob"), asked("a", "eve"))
        database = Database(fresh.app_url)
        async with running_trail(database) as trail:
            who = {"issuer": builders.IDP, "person": VAULT.pseudonym("eve")}
            await erase(database, trail, **who, reason="asked to", by="operator")
        await database.aclose()

    asyncio.run(prepare())
    place = ("--database-url", fresh.auditor_url, "--key-file", key)
    result = run("policy", "replay", "--policies", policies["live"], *place, "--format", "json")

    assert result.exit_code == 0
    assert said(result)["decisions"] == 1
    assert said(result)["not_replayable"] == {"erased": 1}


@pytest.fixture(scope="module")
def opened(trail: OneDatabase, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its records a line each, with what is personal in plain."""
    path = tmp_path_factory.mktemp("opened") / "inputs.jsonl"
    place = ("--database-url", trail.auditor_url, "--key-file", key)
    path.write_text(run("audit", "query", "--format", "jsonl", "--open", *place).stdout)
    return path


@pytest.fixture(scope="module")
def sealed(trail: OneDatabase, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports in which nobody can read who was meant."""
    folder = tmp_path_factory.mktemp("sealed")
    place = ("--database-url", trail.auditor_url)
    lines = folder / "inputs.jsonl"
    lines.write_text(run("audit", "query", "--format", "jsonl", *place).stdout)
    native = folder / "export.jsonl"
    run("audit", "export", "--format", "native", "--out", native, *place)
    return {"lines": lines, "native": native}


def test_an_opened_file_needs_no_database(opened: Path, policies: dict[str, Path]) -> None:
    """As in a pipeline that checks a change."""
    result = run(
        *("policy", "replay", "--policies", policies["wider"], "--against", policies["live"]),
        *("--from", opened, "--format", "json"),
    )

    document = said(result)
    assert result.exit_code == 3
    assert document["kinds"] == {"permitted": 1, "refused": 2}
    assert document["against"] is not None


@pytest.mark.parametrize("kind", ["lines", "native"])
def test_a_sealed_file_is_opened_by_the_database_that_has_its_keys(
    replay: Replay, sealed: dict[str, Path], policies: dict[str, Path], kind: str
) -> None:
    """Without it, it says how to export what can be read."""
    alone = run("policy", "replay", "--policies", policies["live"], "--from", sealed[kind])
    beside = replay("live", "--from", sealed[kind], "--format", "json")

    assert alone.exit_code == 2
    assert "--open" in alone.stderr
    assert (beside.exit_code, said(beside)["decisions"]) == (0, 7)


def test_decisions_are_taken_along_without_the_persons_in_them(
    replay: Replay, tmp_path: Path, policies: dict[str, Path]
) -> None:
    """For where the trail itself may not go; what is found there is what the trail says."""
    path = tmp_path / "inputs.jsonl"
    here = replay("wider", "--save", path, "--format", "json")
    there = run(
        *("policy", "replay", "--policies", policies["wider"], "--from", path, "--format", "json")
    )

    assert "7 decisions are saved" in here.stderr
    assert not [name for name in ("alice", "bob") if name in path.read_text()]
    assert (said(there)["decisions"], said(there)["groups"]) == (7, said(here)["groups"])


def test_nothing_is_saved_where_it_could_not_be_replayed(
    trail: OneDatabase, policies: dict[str, Path], tmp_path: Path
) -> None:
    """And a claim is kept only in what is saved."""
    path = tmp_path / "inputs.jsonl"
    place = ("--database-url", trail.auditor_url, "--policies", policies["live"])
    sealed = run("policy", "replay", *place, "--save", path)
    claim = run("policy", "replay", *place, "--keep-claim", "tenant")
    elsewhere = run("policy", "replay", *place, "--save", tmp_path / "nowhere" / "inputs.jsonl")

    assert [2, 2, 2] == [result.exit_code for result in (sealed, claim, elsewhere)]
    assert "--save" in claim.stderr
    assert "cannot be written" in " ".join(elsewhere.stderr.split())
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("[\n{}\n]\n", "line 1", id="a document"),
        pytest.param("{}\nnothing\n", "line 2", id="a line that is no record"),
        pytest.param('{"format":"broker-audit-export","version":9}\n', "line 1", id="newer"),
        pytest.param("\xff\xfe", "line 1", id="not text"),
        pytest.param(None, "cannot be read", id="not there"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_the_line(
    tmp_path: Path, policies: dict[str, Path], content: str | None, told: str
) -> None:
    """Exit code 2, and the place."""
    path = tmp_path / "export.jsonl"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    result = run("policy", "replay", "--policies", policies["live"], "--from", path)

    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


def test_reports_are_written_by_their_names(
    replay: Replay, tmp_path: Path, trail: OneDatabase
) -> None:
    """A page, a comment and a document at once, beside the table."""
    paths = [tmp_path / f"replay.{suffix}" for suffix in ("html", "md", "json")]
    replay("wider", *(part for path in paths for part in ("--report", path)))
    page, comment, document = (path.read_text() for path in paths)

    assert page.startswith("<!doctype html>")
    assert "newly permitted" in page
    assert "newly permitted" in comment
    assert json.loads(document)["outcome"] == "widens"


@pytest.mark.parametrize("name", ["replay.pdf", "replay"])
def test_a_report_of_another_name_is_refused_before_anything_is_asked(
    replay: Replay, trail: OneDatabase, tmp_path: Path, name: str
) -> None:
    """Nothing is read for what cannot be written."""
    before = len(looks(trail))
    result = replay("live", "--report", tmp_path / name)

    assert result.exit_code == 2
    assert ".html" in result.stderr
    assert len(looks(trail)) == before


def test_a_candidate_that_does_not_compile_is_refused(
    replay: Replay, tmp_path: Path, trail: OneDatabase, key: Path
) -> None:
    """With the file and the line, as everywhere."""
    folder = write_policy(tmp_path / "policies", "decision := {")
    place = ("--database-url", trail.auditor_url, "--key-file", key)
    result = run("policy", "replay", "--policies", folder, *place)

    assert isinstance(result.exception, ConfigurationError)
    assert "decision.rego:" in str(result.exception)


def test_a_row_that_nobody_of_ours_wrote_keeps_nobody_from_the_others(
    fresh: OneDatabase, key: Path, policies: dict[str, Path]
) -> None:
    """It is counted."""

    async def prepare() -> None:
        with open_candidate(policies["live"], ceiling=CEILING) as policy:
            await write_decided(fresh.app_url, policy, asked("a"))
        connection = await asyncpg.connect(fresh.app_url)
        await connection.execute(
            "INSERT INTO audit_event (writer, seq, at, id, kind, outcome, actor_issuers, actors,"
            " targets, scopes, record, leaf) VALUES (gen_random_uuid(), 1, now(),"
            " gen_random_uuid(), 'exchange', 'issued', '{}', '{}', '{}', '{}', 'no record',"
            " sha256('a row'))"
        )
        await connection.close()

    asyncio.run(prepare())
    place = ("--database-url", fresh.auditor_url, "--key-file", key)
    document = said(
        run("policy", "replay", "--policies", policies["live"], *place, "--format", "json")
    )

    assert (document["decisions"], document["not_replayable"]) == (1, {"malformed": 1})
