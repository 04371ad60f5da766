"""``broker policy test`` over scenarios: asked of the compiled policy, and told in words."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.policy.bundle import build_bundle
from broker.policy.snapshot import take_snapshot
from tests.integration.policy.conftest import STOCK

SHIPPED = STOCK / "scenarios" / "checkout.scenarios.yaml"


def run(*arguments: object) -> Result:
    """What the command does with the scenarios alone."""
    words = ["test", *map(str, arguments), "--only", "scenarios"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of the stock policy with its scenarios, to be changed."""
    folder = tmp_path / "policies"
    shutil.copytree(STOCK, folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace what is there exactly once."""
    text = path.read_text()
    assert 1 == text.count(old), old
    path.write_text(text.replace(old, new))


def test_the_stock_policy_does_what_its_scenarios_say() -> None:
    """And every grant has one."""
    result = run(STOCK, "--every-grant")

    assert 0 == result.exit_code, result.stdout
    assert "0 failed, 2 of 2 grants asked for" in result.stdout


def test_a_grant_that_is_cut_shows_by_name_place_and_words(edited: Path) -> None:
    """A reviewer who reads no Rego sees what is lost."""
    grants = edited / "broker" / "grants" / "data.yaml"
    edit(grants, "{stock.read: [orders.write]}", "{stock.read: [orders.read]}")
    result = run(edited)
    said = " ".join(result.stdout.split())

    assert 1 == result.exit_code
    place = f"{edited}/scenarios/checkout.scenarios.yaml"
    assert f"An order lets the checkout see the stock, for two minutes {place}:" in said
    assert "expected granted inventory.read, stock.read from orders.write" in said
    assert "got refused because policy.scope_not_held" in said


def test_a_later_exchange_that_differs_is_named_as_such(edited: Path) -> None:
    """Which of several it was."""
    edit(edited / "broker" / "grants" / "data.yaml", "[stock.read, inventory.read]", "[stock.read]")
    result = run(edited)

    assert 1 == result.exit_code
    assert "The ledger is as far as an order goes  exchange 2" in result.stdout
    assert "checkout asks inventory" not in result.stdout
    assert "inventory asks ledger for ledger.read, for idp:alice with" in result.stdout


def test_grants_without_a_scenario_are_named_and_fail_where_asked(edited: Path) -> None:
    """Nobody would notice that they are gone."""
    with (edited / "broker" / "grants" / "data.yaml").open("a") as data:
        data.write("\nledger:\n  inventory: {scopes: [inventory.read, inventory.write]}\n")
    edit(edited / "broker" / "grants" / "data.yaml", "[ledger.append]", "[ledger.append, ledger.x]")
    shipped = edited / "scenarios" / SHIPPED.name
    edit(shipped, "policy.target_not_granted}\n\nrows", "policy.scope_not_held}\n\nrows")
    said = run(edited)

    assert "! no scenario is granted ledger.x of inventory at ledger" in said.stdout
    assert "! no scenario is granted inventory.read, inventory.write of ledger at" in said.stdout
    assert [0, 1] == [said.exit_code, run(edited, "--every-grant").exit_code]


def test_a_file_that_cannot_be_read_stops_it(edited: Path) -> None:
    """Exit code 2, and every problem with its line."""
    edit(edited / "scenarios" / SHIPPED.name, "lifetime: 2m", "liftime: 2m")
    result = CliRunner().invoke(
        app, ["test", str(edited), "--only", "scenarios"], env={"COLUMNS": "200"}
    )

    assert 2 == result.exit_code
    assert f"{SHIPPED.name}:" in result.stderr
    assert "is not a known key; write lifetime" in result.stderr


def test_a_filter_asks_those_with_the_text_and_measures_nothing() -> None:
    """Of one scenario nothing follows for the grants."""
    found = json.loads(run(STOCK, "--filter", "LEDGER IS AS FAR", "--format", "json").stdout)

    assert ["The ledger is as far as an order goes"] == [s["name"] for s in found["scenarios"]]
    assert "grants" not in found
    assert 1 == run(STOCK, "--filter", "nothing like it").exit_code


def test_json_says_what_came_out_of_every_step() -> None:
    """As `Verdict` renders it."""
    found = json.loads(run(STOCK, "--format", "json").stdout)
    first = found["scenarios"][0]

    assert (True, SHIPPED.name) == (first["passed"], Path(first["file"]).name)
    assert ["inventory.read", "stock.read"] == first["steps"][0]["scopes"]
    assert {"cells": 2, "touched": 2, "untouched": []} == found["grants"]


def test_junit_has_a_case_for_each_scenario(edited: Path) -> None:
    """With file and line, and for a failure what differs."""
    edit(edited / "broker" / "grants" / "data.yaml", "max_lifetime: 2m", "max_lifetime: 3m")
    root = ET.fromstring(run(edited, "--format", "junit").stdout)
    (suite,) = root
    failed = suite.findall("testcase/failure")

    assert (suite.get("tests"), suite.get("failures")) == (str(len(suite)), "1")
    assert "lives 3m" == failed[0].get("message")
    assert "expected  lives 2m" in (failed[0].text or "")
    assert all(case.get("line") for case in suite)


def test_further_files_are_asked_as_well(tmp_path: Path) -> None:
    """By the place that is named, wherever it is."""
    copy = tmp_path / "again.scenarios.yaml"
    shutil.copy(SHIPPED, copy)
    found = json.loads(run(STOCK, "--scenarios", copy, "--format", "json").stdout)

    assert {str(SHIPPED), str(copy)} == {each["file"] for each in found["scenarios"]}


def test_a_built_bundle_is_asked_the_scenarios_that_are_named(tmp_path: Path) -> None:
    """What is about to be rolled out, not what it was made of."""
    built = tmp_path / "bundle.tar.gz"
    made = CliRunner().invoke(app, ["build", str(STOCK), "--output", str(built)])
    result = run(built, "--scenarios", STOCK)

    assert (0, 0) == (made.exit_code, result.exit_code)
    assert "scenarios: 12 passed, 0 failed" in result.stdout


def test_scenarios_do_not_travel_and_do_not_change_the_revision(edited: Path) -> None:
    """They are about the policy and no part of it."""
    with_them = build_bundle(edited).revision
    assert not any("scenarios" in name for name in take_snapshot(edited))
    shutil.rmtree(edited / "scenarios")

    assert with_them == build_bundle(edited).revision


def test_a_policy_that_traps_is_not_taken_for_one_that_refuses(edited: Path) -> None:
    """Whatever it does wrong is no answer that somebody wanted."""
    rule = edited / "broker" / "rules" / "two" / "two.rego"
    rule.parent.mkdir()
    rule.write_text("package broker.rules.two\n\ndeny := 1\n\ndeny := input.request.time\n")
    result = run(edited)

    assert 1 == result.exit_code
    assert "the policy failed: " in result.stdout


def test_claims_that_no_rule_can_see_are_the_first_thing_to_look_at(tmp_path: Path) -> None:
    """Whoever wrote the scenario thought that they are seen."""
    text = SHIPPED.read_text().partition("scenarios:\n")[0]
    unseen = tmp_path / "unseen.scenarios.yaml"
    unseen.write_text(
        text + "rows:\n  - {claims: {acr: mfa}, asks: inventory.write, holds: inventory.write,"
        " then: granted}\n"
    )
    result = run(STOCK, "--scenarios", unseen)

    assert 1 == result.exit_code
    assert "perhaps   policy_claims of idp do not name acr" in result.stdout
