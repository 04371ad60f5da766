"""Rego that does not end, allocates without end, contradicts itself or answers with no decision."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.policy import app
from broker.policy.scaffold.scaffold import create_folder

HEAD = "# METADATA\n# schemas:\n#   - input: schema.input\npackage broker.rules.mine\n\n"
LOOP = """deny contains "policy.denied" if {
	some a in _many
	some b in _many
	a == b
	a < 0
}

_many := numbers.range(1, 100000)
"""
MEMORY = """deny contains "policy.denied" if {
	some a in numbers.range(1, 9000)
	some b in numbers.range(1, 9000)
	concat("", [format_int(a, 10), format_int(b, 10)]) == "x"
}
"""
CONFLICT = """once := 1 if input.client.id

once := 2 if input.subject.issuer

deny contains "policy.denied" if once == 3
"""
UNKNOWN = """deny contains "policy.nope" if input.request.source == "x"

oblige contains "dance" if input.request.source == "x"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with a rule of one's own that each test writes."""
    made = tmp_path_factory.mktemp("policy") / "policies"
    create_folder(made, (), "x")
    (made / "broker/rules/mine").mkdir(parents=True)
    return made


def bad(folder: Path) -> list[str]:
    """What fails, with its place from the folder."""
    result = CliRunner().invoke(app, ["check", str(folder), "--format", "json"])
    return [
        each["text"].replace(f"{folder}/", "")
        for each in json.loads(result.stdout)["findings"]
        if each["mark"] == "bad"
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        pytest.param(LOOP, "the policy does not end within 1 s", id="without-end"),
        pytest.param(MEMORY, "the policy needs more memory", id="without-bound"),
        pytest.param(
            CONFLICT,
            "broker/rules/mine/mine.rego:8: asked by checkout for inventory, the policy fails:"
            " rule data.broker.rules.mine.once produced conflicting values",
            id="in-conflict",
        ),
        pytest.param(
            "deny contains 5 if input.client.id\n",
            "the policy gives no decision: its reasons",
            id="another-shape",
        ),
    ],
)
def test_rego_that_makes_no_decision_is_named(folder: Path, rule: str, said: str):
    """By file and line, and in a sentence; nothing waits longer than the probe allows."""
    (folder / "broker/rules/mine/mine.rego").write_text(HEAD + rule)
    (found,) = bad(folder)

    assert said in found
    assert ".rego:" in found.partition(" ")[0]


def test_what_the_broker_does_not_understand_is_named(folder: Path):
    """A reason and an obligation that are of no set, before anybody is refused for them."""
    (folder / "broker/rules/mine/mine.rego").write_text(HEAD + UNKNOWN)

    reason, obligation = bad(folder)

    assert reason.startswith("broker/rules/mine/mine.rego:6: is no reason that a policy can give")
    assert obligation.startswith("broker/rules/mine/mine.rego:8: is nothing that the broker can be")


@pytest.mark.parametrize("rule", ['deny if input.request.source == "x"\n', 'deny := "policy.x"\n'])
def test_a_deny_that_is_no_set_is_named(folder: Path, rule: str):
    """It refuses for no reason of its own, and its author may have meant something else."""
    (folder / "broker/rules/mine/mine.rego").write_text(HEAD + rule)
    result = CliRunner().invoke(app, ["check", str(folder), "--format", "json"])
    (found,) = [each for each in json.loads(result.stdout)["findings"] if each["mark"] == "warning"]

    assert "mine.rego:6: is no set, so whatever it says refuses" in found["text"]


def test_a_decision_of_another_shape_is_named_by_its_member(tmp_path: Path):
    """Somebody edits the stock rules."""
    made = tmp_path / "policies"
    create_folder(made, (), "x")
    decision = made / "broker/exchange/decision.rego"
    text = decision.read_text().replace('"lifetime": lifetime.seconds', '"lifetime": "5m"')
    decision.write_text(text)
    line = text[: text.index('"lifetime"')].count("\n") + 1
    (found,) = bad(made)

    assert found.startswith(f"broker/exchange/decision.rego:{line}: asked by checkout")
    assert "its lifetime is not as schemas/decision.json says" in found
