"""``broker policy build | test | check``, as they are typed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, load_bundle
from tests.configuration import document
from tests.integration.policy.conftest import STOCK

PARAMETERS = "# yaml-language-server: $schema=../../schemas/parameters.json\n"
TESTS = """package broker.exchange_test

import data.broker.exchange

test_it_allows if exchange.decision.allow with input as {"n": 1}
"""
RULE = """package broker.exchange

decision := {"allow": input.n == 1}
"""


def run(*arguments: object) -> Result:
    """What the command does."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A policy of one rule with one test."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "decision.rego").write_text(RULE)
    (folder / "decision_test.rego").write_text(TESTS)
    return folder


@pytest.fixture
def edited(policy_folder: Path, tmp_path: Path) -> Path:
    """A copy of the stock policy, to be broken."""
    folder = tmp_path / "policies"
    shutil.copytree(policy_folder, folder)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, policy_folder: Path) -> Path:
    """A configuration that names the stock policy."""
    path = tmp_path_factory.mktemp("config") / "broker.yaml"
    path.write_text(yaml.safe_dump(document(policy={"path": str(policy_folder)})))
    return path


def findings(*arguments: object) -> dict[str, str]:
    """Subject and mark of what ``check`` finds."""
    report = json.loads(run("check", *arguments, "--format", "json").stdout)
    return {each["subject"]: each["mark"] for each in report["findings"]}


def test_build_prints_the_revision_that_the_broker_will_name(
    policy_folder: Path, tmp_path: Path, bundle: Bundle
):
    """And what it wrote loads as that."""
    output = tmp_path / "bundle.tar.gz"
    result = run("build", policy_folder, "--output", output)

    assert f"{bundle.revision}  {output}\n" == result.stdout
    assert bundle.revision == load_bundle(output).revision


@pytest.mark.parametrize("engine", ["wasm", "opa"])
def test_build_writes_the_same_bytes_every_time(small: Path, tmp_path: Path, engine: str):
    """Whoever builds it again can compare."""
    written = []
    for name in ("a", "b"):
        run("build", small, "--output", tmp_path / name, "--engine", engine)
        written.append((tmp_path / name).read_bytes())

    assert written[0] == written[1]


def test_build_writes_nothing_that_does_not_compile(small: Path, tmp_path: Path):
    """The last good bundle stays where it is."""
    (small / "decision.rego").write_text("package broker.exchange\n\ndecision := (\n")
    with pytest.raises(ConfigurationError, match=r"decision\.rego:"):
        run("build", small, "--output", tmp_path / "bundle")

    assert not (tmp_path / "bundle").exists()


def test_tests_that_pass_are_a_line(small: Path):
    """With how much of the policy they reach."""
    result = run("test", small)

    assert (0, "1 passed, 0 failed, 100 % covered\n") == (result.exit_code, result.stdout)


def test_a_test_that_fails_is_named_with_its_place(small: Path):
    """Exit code 1."""
    text = TESTS + "\ntest_it_is_wrong if exchange.decision.allow with input as {}\n"
    (small / "decision_test.rego").write_text(text)
    result = run("test", small)

    assert 1 == result.exit_code
    assert "✗ broker.exchange_test.test_it_is_wrong" in result.stdout
    assert f"{small}/decision_test.rego:7" in result.stdout
    assert "1 passed, 1 failed" in result.stdout


def test_lines_that_no_test_reaches_are_named(small: Path):
    """And fail where a threshold says so."""
    (small / "decision.rego").write_text(RULE + "\nfurther if {\n\tinput.x\n\tinput.y\n}\n")
    results = [run("test", small, "--threshold", each) for each in (0, 100)]

    assert [0, 1] == [result.exit_code for result in results]
    # A long folder stands on a line of its own.
    said = " ".join(results[0].stdout.split())
    assert f"no test reaches {small}/decision.rego:5-7" in said


def test_a_folder_without_tests_does_not_pass(small: Path):
    """Nothing failed is not the same as all is well."""
    (small / "decision_test.rego").unlink()

    assert 1 == run("test", small).exit_code


def test_a_policy_that_does_not_parse_cannot_be_tested(small: Path):
    """Named by file and line."""
    (small / "decision.rego").write_text("package broker.exchange\n\ndecision := (\n")

    with pytest.raises(ConfigurationError, match=f"{small}/decision.rego:"):
        run("test", small)


def test_check_finds_nothing_in_the_stock_policy():
    """What is shipped."""
    result = run("check", STOCK)

    assert 0 == result.exit_code, result.stdout
    assert "All 4 are well." in result.stdout


def test_check_takes_the_policy_of_the_configuration(config: Path):
    """And holds its grants against it: one of them is for a client that may not exchange."""
    assert "bad" == findings("--config", config)["grants svc-no-grant-type.svc-b"]
    assert "grants svc-no-grant-type.svc-b" not in findings(STOCK)


def test_check_judges_a_built_bundle(bundle: Bundle, policy_folder: Path, tmp_path: Path):
    """Without opa, there is less to look at."""
    output = tmp_path / "bundle.tar.gz"
    run("build", policy_folder, "--output", output)

    assert {"policy": "good", "grants": "good"} == findings(output)


@pytest.mark.parametrize(
    ("name", "text", "subject", "mark"),
    [
        pytest.param("x.rego", "package x\na:=1\n", "format", "warning", id="not-formatted"),
        pytest.param("x.rego", "package x\n\na := b\n", "types", "bad", id="unsafe"),
        pytest.param("x.rego", "package x\n\na := 1\n", "schemas", "warning", id="no-schema"),
        pytest.param(
            "broker/rules/x.rego",
            "# METADATA\n# schemas:\n#   - input: schema.input\npackage broker.rules.x\n\n"
            'deny contains "policy.denied" if input.subject.isuer == "x"\n',
            "types",
            "bad",
            id="misspelt-member-of-the-input",
        ),
        pytest.param(
            "broker/rules/x.rego",
            "package broker.rules.x\n\n"
            'deny contains "policy.denied" if time.now_ns() > input.request.time\n',
            "policy",
            "bad",
            id="a-clock",
        ),
        pytest.param(
            "broker/grants/data.yaml",
            "svc-a: {svc-b: {scops: []}}\n",
            "grants svc-a.svc-b.scops",
            "bad",
            id="grant-misspelt",
        ),
        pytest.param(
            "broker/grants/data.yaml",
            "svc-x: {svc-b: {scopes: []}}\n",
            "grants svc-x",
            "bad",
            id="grant-for-nobody",
        ),
        pytest.param(
            "broker/grants/data.yaml",
            "svc-a: {svc-b: {scopes: [orders.read]}}\nsvc-a: {svc-b: {scopes: [orders.read]}}\n",
            "svc-a",
            "bad",
            id="client-that-stands-twice",
        ),
        pytest.param(
            "broker/parameters/data.yaml",
            f"{PARAMETERS}hours: {{a.b: [{{days: [monday]}}]}}\n",
            "parameters hours.a.b[0].days[0]",
            "bad",
            id="parameter-beside-the-schema",
        ),
        pytest.param(
            "broker/parameters/data.yaml",
            f"{PARAMETERS}step_up: {{a: {{acr: [gold]}}}}\n",
            "parameters step_up.a.acr",
            "bad",
            id="claim-that-no-policy-sees",
        ),
        pytest.param(
            "broker/parameters/data.yaml",
            f"{PARAMETERS}step_up: {{a: {{amrr: [hwk]}}}}\n",
            "parameters step_up.a.amrr",
            "bad",
            id="parameter-misspelt",
        ),
        pytest.param(
            "broker/mine/data.yaml",
            "# yaml-language-server: $schema=../../../outside.json\na: 1\n",
            "schema of broker/mine/data.yaml",
            "bad",
            id="schema-from-elsewhere",
        ),
    ],
)
def test_check_names_what_is_wrong(
    edited: Path, config: Path, name: str, text: str, subject: str, mark: str
):
    """One finding for it, at the thing that it is about."""
    path = edited / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

    assert mark == findings(edited, "--config", config)[subject]


def test_check_lets_nobody_look_into_what_no_folder_may_hold(edited: Path, tmp_path: Path):
    """A pipe would be waited for, and what a link leads to is another's to write."""
    (tmp_path / "outside.rego").write_text("package outside\n")
    os.mkfifo(edited / "broker/data.yaml")
    assert {"policy": "bad"} == findings(edited)
    (edited / "broker/data.yaml").unlink()
    (edited / "broker/outside.rego").symlink_to("../../outside.rego")
    assert {"policy": "bad"} == findings(edited)


@pytest.mark.parametrize("made", ["pipe", "no-json", "nothing"])
def test_a_schema_that_cannot_be_read_is_named(edited: Path, made: str):
    """At the line that names it, and without waiting."""
    folder = edited / "broker/mine"
    folder.mkdir()
    (folder / "data.yaml").write_text("a: 1\n# yaml-language-server: $schema=s.json\n")
    if made == "pipe":
        os.mkfifo(folder / "s.json")
    elif made == "no-json":
        (folder / "s.json").write_text("{")
    report = json.loads(run("check", edited, "--format", "json").stdout)

    (found,) = [each["text"] for each in report["findings"] if each["mark"] == "bad"]
    assert f"{folder}/data.yaml:2: names a schema that is no JSON file of this folder" == found


def test_check_says_file_and_line(edited: Path):
    """An editor, or a reader of a log, can go there."""
    grants = edited / "broker/grants/data.yaml"
    grants.write_text("svc-a:\n  svc-b:\n    scopes: [a]\n    max_depth: x\n")
    report = json.loads(run("check", edited, "--format", "json").stdout)

    (found,) = [each["text"] for each in report["findings"] if each["mark"] == "bad"]
    assert f"{grants}:4: write a whole number" == found
