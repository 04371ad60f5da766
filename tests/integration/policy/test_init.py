"""``broker policy init``: what it writes compiles and passes, and nothing is written over."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.errors import ConfigurationError
from broker.policy.scaffold.template import TEMPLATES, render_rule
from broker.policy.stock import find_stock

PARAMETERS = "broker/parameters/data.yaml"


def run(*arguments: object) -> Result:
    """What the command does."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_written_is_well_and_covered_with_every_rule_of_the_library(tmp_path: Path):
    """Also formatted, and its scenarios pass; each rule is a package with its own test."""
    folder = tmp_path / "mine" / "policies"
    rules = [option for name in TEMPLATES for option in ("--with", name)]
    written = run("init", folder, *rules, "--target", "ledger-x")
    checked = json.loads(run("check", folder, "--format", "json").stdout)
    tested = run("test", folder, "--threshold", "100")

    assert 0 == written.exit_code, written.output
    assert {"good"} == {each["mark"] for each in checked["findings"]}, checked
    assert 0 == tested.exit_code, tested.output
    assert "0 failed, 100 % covered" in tested.output
    for name in TEMPLATES:
        assert (folder / f"broker/rules/ledger_x_{name}/ledger_x_{name}_test.rego").is_file()
    assert "# This policy" in (folder / "README.md").read_text()
    assert ["policies"] == [path.name for path in (tmp_path / "mine").iterdir()]


def test_every_rule_of_the_library_can_be_added():
    """But for what says whom a rule concerns."""
    library = {path.name for path in (find_stock() / "broker/library").iterdir()}

    assert library - {"asks"} == set(TEMPLATES)


def test_a_copy_of_the_stock_policy_has_its_revision(tmp_path: Path):
    """Nothing is changed on the way, and the README does not decide."""
    run("init", tmp_path / "p")
    mine = run("build", tmp_path / "p", "--output", tmp_path / "mine.tar.gz").stdout
    stock = run("build", find_stock(), "--output", tmp_path / "stock.tar.gz").stdout

    assert stock.split()[0] == mine.split()[0]


def test_rules_are_added_to_a_folder_that_is_there(tmp_path: Path):
    """Comments of the parameters stay, and what was there is as it was."""
    folder = tmp_path / "p"
    run("init", folder, "--with", "hours", "--target", "front")
    before = everything(folder)
    run("init", folder, "--with", "hours", "--with", "ticket", "--target", "back")
    after = everything(folder)
    given = yaml.safe_load(after[PARAMETERS])

    assert {"front", "back"} == set(given["hours"])
    assert {"back"} == set(given["ticket"])
    assert after[PARAMETERS].startswith(before[PARAMETERS].partition(b"hours:\n  front")[0])
    assert {name: after[name] for name in before if name != PARAMETERS} == {
        name: text for name, text in before.items() if name != PARAMETERS
    }
    assert 0 == run("check", folder).exit_code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "nothing is written over", id="a-folder-that-is-there"),
        pytest.param(
            ("--with", "hours", "--target", "front"), "nothing is written over", id="a-rule"
        ),
        pytest.param(("--with", "minutes"), "write one of actors", id="no-rule"),
        pytest.param(("--with", "age", "--target", "../x"), "small letters", id="a-path"),
        pytest.param(("--with", "age", "--target", 'x"y'), "small letters", id="a-quote"),
    ],
)
def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, arguments, said):
    """It is refused before the first byte."""
    folder = tmp_path / "p"
    run("init", folder, "--with", "hours", "--target", "front")
    before = everything(tmp_path)

    with pytest.raises(ConfigurationError, match=said):
        run("init", folder, *arguments)
    assert before == everything(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("hours: {front: []}\n", "add it by hand", id="in-braces"),
        pytest.param("hours:\n  back: []\n", "has other parameters hours.back", id="other"),
        pytest.param("- hours\n", "is no mapping", id="a-list"),
        pytest.param("hours: [\n", "is no YAML", id="no-yaml"),
    ],
)
def test_parameters_that_cannot_be_added_are_refused(tmp_path: Path, text, said):
    """Rather than written so that the file means something else."""
    folder = tmp_path / "p"
    run("init", folder)
    (folder / PARAMETERS).write_text(text)
    before = everything(folder)

    with pytest.raises(ConfigurationError, match=said):
        run("init", folder, "--with", "hours", "--target", "back")
    assert before == everything(folder)


def test_an_empty_folder_gives_way_and_a_link_does_not(tmp_path: Path):
    """Whoever has made the folder already may go on; nobody writes elsewhere by a link."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")

    with pytest.raises(ConfigurationError, match="is there already"):
        run("init", tmp_path / "link")
    assert 0 == run("init", tmp_path / "empty").exit_code
    assert (tmp_path / "empty/broker/exchange/decision.rego").is_file()


def test_a_rule_for_a_target_calls_the_library_by_a_name_in_quotes():
    """Whatever were an argument and missing would let everything pass."""
    text, _ = render_rule("hours", "ledger_hours", "ledger")

    assert 'asks.target("ledger")\n\tnot hours.within("ledger")' in text
