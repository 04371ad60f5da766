"""The matrix says what is obtained, no more and no less: held against supposed exchanges."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.policy.bundle import Bundle, build_bundle
from broker.policy.difference import Kind
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance, combine
from broker.workbench.matrix.difference import compare_matrices
from broker.workbench.matrix.matrix import Asked, Matrix, find_area, survey
from broker.workbench.matrix.probe import Budget, suppose_subject
from broker.workbench.matrix.rows import build_rows, render_csv
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.question import Question
from broker.workbench.replay.report import Outcome
from broker.workbench.scenarios.ask import ask
from tests.configuration import document
from tests.integration.policy.conftest import STOCK
from tests.replaying import write_policy

FLOOR = "policy.floor_violation (lifetime)"
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)  # a Tuesday
SCOPES = ("orders.read", "orders.write", "customers.read")
SOURCES = (*SCOPES, "staff", "admin", "identity")
CLIENTS = ("svc-a", "svc-b", "svc-c")
TARGETS = ("svc-a", "svc-b", "svc-c")
ISSUERS = {"idp": "https://idp.test", "scopeless": "https://scopeless.test"}

RULES = """
package broker.rules.own

# Only with a second factor.
deny contains "policy.denied" if {
	input.client.id == "svc-a"
	not input.subject.claims.groups == ["gold"]
}

# Two things have to be held together.
deny contains "policy.denied" if {
	input.client.id == "svc-b"
	not "staff" in input.subject.scopes
}

# Who holds too much gets nothing.
deny contains "policy.denied" if {
	input.client.id == "svc-c"
	count(input.subject.scopes) > 1
}
"""


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three clients and targets, an issuer with scopes and one without, one with claims."""
    whole = document()
    chosen = {
        "issuers": [i for i in whole["issuers"] if i["alias"] in {"idp", "scopeless", "other"}],
        "clients": [c for c in whole["clients"] if c["id"] in CLIENTS],
        "targets": [t for t in whole["targets"] if t["name"] in TARGETS],
    }
    return Settings.model_validate(whole | chosen | {"audit": {}})


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, opa: Path) -> Bundle:
    """The stock policy with a rule for each client."""
    folder = tmp_path_factory.mktemp("ruled") / "policies"
    shutil.copytree(STOCK, folder)
    (folder / "broker" / "rules" / "own").mkdir(parents=True)
    (folder / "broker" / "rules" / "own" / "own.rego").write_text(RULES)
    return build_bundle(folder, opa=opa)


def with_grants(bundle: Bundle, grants: dict[str, Any]) -> Bundle:
    """The same Rego with other grants."""
    data = orjson.loads(bundle.data)
    data["broker"]["grants"] = grants
    return replace(bundle, data=orjson.dumps(data))


def look(
    bundle: Bundle,
    setting: Settings,
    *circumstances: Circumstance,
    budget: int = 1_000_000,
    names: Bundle | None = None,
    **narrow: Any,
) -> Matrix:
    """The matrix of a bundle."""
    holds = narrow.pop("holds", ())
    vocabulary = gather(bundle, setting, holds=holds)
    if names is not None:
        vocabulary |= gather(names, setting, holds=holds)
    asked = Asked(
        find_area(setting, **narrow), circumstances or (Circumstance(AT),), vocabulary, holds=holds
    )
    candidate = Candidate(bundle, ceiling=setting.max_delegation_depth)
    try:
        return survey(candidate, setting, asked, Budget(budget))
    finally:
        candidate.close()


def ways(matrix: Matrix, client: str, target: str, issuer: str = "idp") -> list[str]:
    """What is obtained in one cell, in words."""
    (cell,) = [cell for cell in matrix.cells if cell.place == (client, target, issuer)]
    return [
        one.scope if one.way == "held" else f"{one.scope} ← {one.way}" for one in cell.obtainable
    ]


@st.composite
def grants(draw: st.DrawFn) -> dict[str, Any]:
    """Grants as somebody may write them."""
    rows: dict[str, Any] = {}
    for client in CLIENTS:
        for target in TARGETS:
            if draw(st.booleans()):
                rows.setdefault(client, {})[target] = {
                    "scopes": draw(st.lists(st.sampled_from(SCOPES), unique=True)),
                    "derives": draw(
                        st.dictionaries(
                            st.sampled_from(SCOPES),
                            st.lists(st.sampled_from(SOURCES), unique=True),
                            max_size=2,
                        )
                    ),
                    "excess": draw(st.sampled_from(["refuse", "narrow"])),
                    "max_lifetime": draw(st.sampled_from(["1m", "9m"])),
                    "max_depth": draw(st.sampled_from([1, 3])),
                    "mode": draw(st.sampled_from(["delegation", "impersonation"])),
                    "purposes": draw(st.sampled_from([[], ["audit"], ["audit", "billing"]])),
                    "issuers": draw(st.sampled_from([["*"], ["https://idp.test"], []])),
                }
    return rows


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(granted=grants(), data=st.data())
def test_the_matrix_claims_exactly_what_a_supposed_exchange_obtains(
    bundle: Bundle, setting: Settings, granted: dict[str, Any], data: st.DataObject
) -> None:
    """For whatever is held: permitted if a way needs no more than that, and else refused."""
    asked_of = with_grants(bundle, granted)
    matrix = look(asked_of, setting, issuers=("idp", "scopeless"))
    candidate = Candidate(asked_of, ceiling=setting.max_delegation_depth)
    try:
        for cell in matrix.cells:
            scope = data.draw(st.sampled_from(SCOPES))
            holds = frozenset(data.draw(st.lists(st.sampled_from(SOURCES), max_size=3)))
            purpose = data.draw(st.sampled_from([None, "audit", "billing", "other"]))
            issuer = next(i for i in setting.issuers if i.alias == cell.issuer)
            token = suppose_subject(issuer, Circumstance(AT), setting, "somebody")
            question = Question(
                client=cell.client,
                subject=replace(token, scopes=holds),
                at=AT,
                audiences=(cell.target,),
                scopes=(scope,),
                purpose=purpose,
            )
            verdict = ask(question, setting, candidate).verdict
            fitting = [
                one
                for one in cell.obtainable
                if one.scope == scope
                and holds.issuperset(one.holds)
                and one.purpose in (None, purpose)
            ]
            assert bool(fitting) == verdict.allowed, (cell.place, scope, holds, purpose)
            if verdict.allowed:
                bounds = {(one.terms.lifetime, one.terms.max_depth) for one in fitting}
                assert {(verdict.lifetime, verdict.max_depth)} == bounds
    finally:
        candidate.close()


def test_what_is_held_and_what_follows_from_what_are_told_apart(
    bundle: Bundle, setting: Settings
) -> None:
    """Every source by its name, and an identity only where its issuer is without scopes."""
    row = {
        "scopes": ["orders.read"],
        "derives": {"orders.write": ["admin", "orders.read", "identity"]},
    }
    matrix = look(with_grants(bundle, {"svc-a": {"svc-b": row}}), setting)

    assert ways(matrix, "svc-a", "svc-b") == [
        "orders.read",
        "orders.write ← admin",
        "orders.write ← orders.read",
    ]
    assert ways(matrix, "svc-a", "svc-b", "scopeless") == ["orders.read", "orders.write ← identity"]
    assert ways(matrix, "svc-b", "svc-b") == []


def test_a_subject_that_holds_no_more_gets_what_it_holds(bundle: Bundle, setting: Settings) -> None:
    """``--subject-scope`` is all that there is."""
    row = {"scopes": list(SCOPES), "derives": {"orders.write": ["admin"]}}
    granted = with_grants(bundle, {"svc-a": {"svc-b": row}})

    matrix = look(granted, setting, holds=("admin",), issuers=("idp",))

    assert ways(matrix, "svc-a", "svc-b") == ["orders.write ← admin"]


def test_rules_that_look_at_more_than_names_are_seen(ruled: Bundle, setting: Settings) -> None:
    """A claim by what it depends on, a conjunction by all it needs, too much by what is enough."""
    row = {"scopes": ["orders.read", "orders.write"]}
    granted = with_grants(ruled, {client: {"svc-b": row} for client in CLIENTS})
    circumstances = combine([AT], [], {"groups": [["gold"], ["tin"]]})

    matrix = look(granted, setting, *circumstances, issuers=("other",))

    assert ways(matrix, "svc-a", "svc-b", "other") == ["orders.read", "orders.write"]
    (cell,) = [cell for cell in matrix.cells if cell.place == ("svc-a", "svc-b", "other")]
    assert {one.depends for one in cell.obtainable} == {("claim groups",)}
    assert ways(matrix, "svc-b", "svc-b", "other") == [
        "orders.read ← orders.read + staff",
        "orders.write ← orders.write + staff",
    ]
    assert ways(matrix, "svc-c", "svc-b", "other") == ["orders.read", "orders.write"]


@pytest.mark.parametrize(
    ("changed", "kinds", "outcome"),
    [
        pytest.param({}, set(), Outcome.SAME, id="nothing"),
        pytest.param(
            {"scopes": ["orders.read", "orders.write"]},
            {(Kind.WIDER_SCOPES, "orders.write")},
            Outcome.WIDENS,
            id="a scope more",
        ),
        pytest.param(
            {"derives": {"orders.write": ["admin", "staff"]}},
            {(Kind.WIDER_SCOPES, "orders.write ← staff")},
            Outcome.WIDENS,
            id="a source more",
        ),
        pytest.param(
            {"derives": {}},
            {(Kind.NARROWER_SCOPES, "orders.write ← admin")},
            Outcome.CHANGES,
            id="a derivation less",
        ),
        pytest.param(
            {"max_lifetime": "30s"},
            {(Kind.SHORTER_LIFE, "60 s → 30 s")},
            Outcome.CHANGES,
            id="a shorter life",
        ),
        pytest.param(
            {"mode": "impersonation"},
            {(Kind.IMPERSONATION, "")},
            Outcome.WIDENS,
            id="another mode",
        ),
        pytest.param(
            {"issuers": []},
            {(Kind.REFUSED, "policy.issuer_not_allowed; had orders.read, orders.write")},
            Outcome.CHANGES,
            id="for nobody",
        ),
    ],
)
def test_a_change_of_a_grant_is_found_and_judged(
    bundle: Bundle,
    setting: Settings,
    changed: dict[str, Any],
    kinds: set[tuple[Kind, str]],
    outcome: Outcome,
) -> None:
    """By its kind, and whether it widens; a change back is found as well."""
    row = {"scopes": ["orders.read"], "derives": {"orders.write": ["admin"]}, "max_lifetime": "1m"}
    old = with_grants(bundle, {"svc-a": {"svc-b": row}})
    new = with_grants(bundle, {"svc-a": {"svc-b": row | changed}})
    before = look(old, setting, names=new, issuers=("idp",))
    after = look(new, setting, names=old, issuers=("idp",))

    found = compare_matrices(before, after)

    assert {(change.kind, change.what) for change in found.changes} == kinds
    assert found.outcome is outcome
    assert {(c.client, c.target) for c in found.changes} <= {("svc-a", "svc-b")}
    back = compare_matrices(after, before)
    assert bool(back.changes) == bool(kinds)
    if outcome is Outcome.CHANGES:
        assert back.outcome is Outcome.WIDENS


def test_a_budget_that_is_spent_is_said(bundle: Bundle, setting: Settings) -> None:
    """What was not looked at is not compared."""
    whole = look(bundle, setting)
    part = look(bundle, setting, budget=whole.evaluations - 1)

    assert (whole.stopped, part.stopped) == ("", f"after {whole.evaluations - 1:,} evaluations")
    assert len(part.cells) < len(whole.cells)
    assert compare_matrices(whole, part).outcome is Outcome.UNFINISHED


def test_an_early_refusal_is_the_reason_of_its_cells(bundle: Bundle, tmp_path: Path) -> None:
    """Whose tokens a client may not present, and a client that may not exchange at all."""
    setting = Settings.model_validate(document(audit={}))
    matrix = look(bundle, setting, clients=("svc-b", "svc-mail"), issuers=("strict",))

    assert {cell.reasons for cell in matrix.cells} == {
        ("subject_token.issuer_not_for_client",),
        ("client.grant_type_not_allowed",),
    }


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """A configuration beside the stock policy and an edited copy."""
    document = {
        "issuer": "http://127.0.0.1:8080",
        "issuers": [
            {
                "issuer": "https://idp.example.com",
                "alias": "idp",
                "discovery": True,
                "algorithms": ["ES256"],
            }
        ],
        "clients": [
            {
                "id": name,
                "auth": "private_key_jwt",
                "jwks_uri": f"https://{name}.example.com/jwks",
                "targets": targets,
            }
            for name, targets in (("checkout", []), ("inventory", ["inventory"]))
        ],
        "targets": [
            {"name": "inventory", "scopes": ["inventory.read", "stock.read"]},
            {"name": "ledger", "scopes": ["ledger.read", "ledger.append"]},
        ],
    }
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(document))
    shutil.copytree(STOCK, tmp_path / "wider")
    data = tmp_path / "wider" / "broker" / "grants" / "data.yaml"
    data.write_text(data.read_text().replace("max_lifetime: 1m", "max_lifetime: 4m"))
    return tmp_path


def run(folder: Path, *arguments: object) -> Result:
    """What the command does."""
    words = ["matrix", *map(str, arguments), "--config", str(folder / "broker.yaml")]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.usefixtures("opa")
def test_the_command_prints_it_in_four_ways(written: Path) -> None:
    """As a table, for a spreadsheet, for a program, for a browser; alone and as a difference."""
    table = run(written, STOCK)
    said = " ".join(table.stdout.split())
    assert table.exit_code == 0
    assert "checkout inventory idp inventory.read 2m 3" in said
    assert "ledger.read ← inventory.read" in said

    lines = list(csv.DictReader(io.StringIO(run(written, STOCK, "--format", "csv").stdout)))
    assert ("stock.read", "orders.write") in {(line["scope"], line["from"]) for line in lines}

    against = (written / "wider", "--against", STOCK)
    wider = run(written, *against, "--format", "json")
    found = json.loads(wider.stdout)["difference"]
    assert (wider.exit_code, found["outcome"]) == (3, "widens")
    assert [(c["client"], c["kind"], c["what"]) for c in found["changes"]] == [
        ("inventory", "longer_life", "60 s → 240 s")
    ]
    assert run(written, STOCK, "--against", written / "wider").exit_code == 1
    assert run(written, STOCK, "--against", STOCK).exit_code == 0
    page = run(written, *against, "--format", "html").stdout
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "60 s → 240 s" in page


@pytest.mark.usefixtures("opa")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--client", "nobody"], "nobody is no client; there are: checkout", id="name"),
        pytest.param(["--at", "sometime"], "--at", id="time"),
        pytest.param(["--claim", "acr"], "--claim", id="claim"),
    ],
)
def test_what_cannot_be_asked_is_told(written: Path, arguments: list[str], said: str) -> None:
    """With exit code 2, or the error of the configuration."""
    words = ["matrix", str(STOCK), *arguments, "--config", str(written / "broker.yaml")]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})

    assert result.exit_code != 0
    assert said in f"{result.stderr}{result.exception}"


def test_names_that_others_chose_compute_nothing_in_a_spreadsheet(
    bundle: Bundle, setting: Settings
) -> None:
    """A scope may begin like a formula."""
    targets = [setting.targets[0].model_copy(update={"scopes": frozenset({"=1+1"})})]
    changed = setting.model_copy(update={"targets": tuple(targets)})
    granted = with_grants(bundle, {"svc-a": {targets[0].name: {"scopes": ["=1+1"]}}})

    matrix = look(granted, changed, issuers=("idp",))

    assert [row.lines[0].scope for row in build_rows(matrix)] == ["=1+1"]
    assert ",'=1+1,'=1+1," in render_csv(matrix)


def test_a_token_that_is_asked_with_outlives_what_is_made_of_it(setting: Settings) -> None:
    """So that the lifetime is the policy's."""
    issuer = setting.issuers[0]
    token = suppose_subject(issuer, Circumstance(AT), setting, "somebody")

    assert token.life > max(target.max_lifetime for target in setting.targets) + timedelta(hours=1)


def test_a_policy_at_fault_is_told_and_not_taken_for_a_refusal(
    setting: Settings, tmp_path: Path, opa: Path
) -> None:
    """A decision that breaks an invariant, one that is none, and one that never ends."""
    rego = """
decision := {"allow": true, "reasons": [], "targets": ["svc-b"], "scopes": input.request.scopes,
    "derived": [], "lifetime": 999999, "mode": "delegation", "max_depth": 3, "reentry": false,
    "purpose": null, "claims": [], "obligations": []} if input.client.id == "svc-a"

decision := 7 if input.client.id == "svc-b"

decision := {"n": count([1 | numbers.range(1, 100000)[_]; numbers.range(1, 100000)[_]])} if {
    input.client.id == "svc-c"
}
"""
    bundle = build_bundle(write_policy(tmp_path / "policy", rego), opa=opa)

    matrix = look(bundle, setting, targets=("svc-b",), issuers=("idp",))

    faults = {cell.client: cell.faults for cell in matrix.faulty}
    assert not matrix.filled
    assert faults["svc-a"] == (FLOOR, "policy.floor_violation (scope, lifetime)")
    assert faults["svc-b"] == ("policy.malformed",)
    assert "the policy failed" in faults["svc-c"][0]
