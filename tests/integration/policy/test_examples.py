"""Every example does what it says: its scenarios, the attacks among them, pass as it stands."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.findings import Mark
from broker.cli.inspection import inspect
from broker.cli.policy import app
from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle
from broker.policy.review.review import review_bundle
from broker.policy.scaffold.complete import complete_folder
from broker.settings import load_settings
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.suite import ScenarioTests, ask_all
from tests.examples import FOLDER, NAMES, ROOT, make_whole

WITH_RULES = [name for name in NAMES if (FOLDER / name / "policies/broker/rules").is_dir()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every example by its name, whole."""
    place = tmp_path_factory.mktemp("examples")
    return {name: make_whole(name, place) for name in NAMES}


def ask(folder: Path, bundle: Bundle | None = None) -> ScenarioTests:
    """What becomes of an example's scenarios, by its policy or by this one."""
    files = [read_scenarios(path) for path in find_scenario_files([folder])]
    return ask_all(files, bundle or build_bundle(folder / "policies"))


def test_there_are_the_ten() -> None:
    """The use cases of a token-exchange platform."""
    assert (
        "analytics-sandbox",
        "ci-cd-environments",
        "cross-account-role",
        "data-pipeline",
        "mobile-backend",
        "partner-access",
        "per-call-authorization",
        "serverless",
        "temporary-admin-elevation",
        "tenant-onboarding",
    ) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_its_scenarios_pass_and_leave_no_grant_out(whole: dict[str, Path], name: str) -> None:
    """What is granted, at least five attacks that are refused, and no grant for nobody."""
    bundle = build_bundle(whole[name] / "policies")
    tests = ask(whole[name], bundle)
    settings = load_settings(whole[name] / "broker.yaml", {})
    refused = [each for each in tests.outcomes if not each.steps[-1].answer.verdict.allowed]

    assert () == tests.failed
    assert tests.reach is not None
    assert () == tests.reach.untouched
    assert [] == list(review_bundle(bundle, settings))
    assert 5 <= len(refused) < len(tests.outcomes)


def test_a_configuration_passes_the_check(whole: dict[str, Path]) -> None:
    """`broker check` compiles the policy once more, so one stands for all."""
    found = inspect(whole["mobile-backend"] / "broker.yaml").findings

    assert [] == [each for each in found if each.mark is not Mark.GOOD]


@pytest.mark.parametrize("name", WITH_RULES)
def test_without_its_rules_a_scenario_fails(whole: dict[str, Path], name: str) -> None:
    """No rule stands there that nothing would miss."""
    for rule in sorted((whole[name] / "policies/broker/rules").iterdir()):
        aside = rule.rename(whole[name] / rule.name)
        try:
            assert ask(whole[name]).failed, rule.name
        finally:
            aside.rename(rule)


@pytest.mark.parametrize("name", WITH_RULES)
def test_its_rules_are_tested_line_by_line(whole: dict[str, Path], name: str, opa: Path) -> None:
    """Formatted, typed by the schemas, and covered by their own tests."""
    folder = whole[name] / "policies"
    for arguments in (
        ["fmt", "--fail", "broker/rules"],
        ["check", "--strict", "--schema", "schemas", "-b", "."],
    ):
        _opa(opa, folder, *arguments)
    own = ["broker.rules." + path.name for path in (folder / "broker/rules").iterdir()]
    run = ["test", "--run", "|".join(own), "--timeout", "60s", "--coverage", "-b", "."]
    covered = json.loads(_opa(opa, folder, *run, "--format", "json"))["files"]

    for file in (folder / "broker/rules").rglob("*.rego"):
        found = covered[file.relative_to(folder).as_posix()]
        assert "not_covered" not in found, file.name


def _opa(opa: Path, folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [opa, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return ended.stdout


def test_an_example_is_made_whole_by_a_command(tmp_path: Path) -> None:
    """What is there stays as it is, and doing it twice adds nothing."""
    folder = tmp_path / "shop"
    shutil.copytree(FOLDER / "ci-cd-environments", folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = ["init", str(folder / "policies"), "--complete"]
    first = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    second = CliRunner().invoke(app, words, env={"COLUMNS": "200"})

    assert (0, 0) == (first.exit_code, second.exit_code)
    assert ", 0 files of the stock policy" in " ".join(second.stdout.split())
    assert before == {path: path.read_bytes() for path in before}
    assert (folder / "policies/broker/exchange/decision.rego").is_file()
    assert not (folder / "policies/scenarios/checkout.scenarios.yaml").exists()


def test_a_folder_without_grants_is_not_completed(tmp_path: Path) -> None:
    """Otherwise a mistyped name would become a policy with somebody else's grants."""
    with pytest.raises(ConfigurationError, match="has no broker/grants to complete"):
        complete_folder(tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_what_is_added_is_not_kept_in_the_project(whole: dict[str, Path]) -> None:
    """Whoever tries an example in a checkout has nothing to commit."""
    paths = [
        f"examples/{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in whole.items()
        for path in folder.rglob("*")
        if path.is_file() and not (FOLDER / name / path.relative_to(folder)).is_file()
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin", "--no-index"],
        cwd=ROOT,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()

    assert set(paths) == set(ignored)
