"""``broker policy explain``, as it is typed: in words, by a file, and what cannot be understood."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.policy.bundle import Bundle, render_archive
from broker.workbench.explain.observation import Observation, Observer
from tests.configuration import document
from tests.integration.policy.inputs import policy_input
from tests.jwts import IDP

WORDS = ("--client", "svc-a", "--target", "svc-b", "--subject", "idp:alice")
QUESTION: dict[str, Any] = {
    "client": "svc-a",
    "target": "svc-b",
    "asks": "orders.read",
    "subject": "idp:alice",
    "holds": "orders.read",
}


def run(*arguments: object) -> Result:
    """What the command does."""
    words = ["explain", *(str(each) for each in arguments)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "110"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def flat(result: Result) -> str:
    """What it printed, without the lines of the tree and where they break."""
    return re.sub(r"[\s│├└─]+", " ", result.stdout)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A configuration that names the stock policy, built; of it only the parties are read."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "bundle.tar.gz").write_bytes(render_archive(bundle, "wasm"))
    path = folder / "broker.yaml"
    path.write_text(yaml.safe_dump(document(policy={"path": "bundle.tar.gz"})))
    return path


def test_a_request_in_words_is_explained_with_every_limit(config: Path) -> None:
    """The outcome first, the rule with its line below, the least limit marked."""
    asked = ("--scope", "orders.read orders.write", "--subject-scope", "orders.read", "--rules")

    result = run(*WORDS, *asked, "--life", "90s", "--depth", "2", "--config", config)

    assert (result.exit_code, result.stderr) == (0, "")
    text = flat(result)
    for said in (
        "✗ refused policy.scope_not_held",
        f"svc-a → svc-b for alice of {IDP}",
        "the client reads: invalid_scope: A requested scope is not held by the subject token.",
        "· orders.read would be granted, were it asked for alone",
        "✗ orders.write refused: the subject does not hold it",
        "90 s exp of the subject token ← the least",
        "it is exchange 3",
        "allow did not hold: it ended at",
        "count(scopes.granted) > 0",
        "✓ broker.exchange.issuers.allowed",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(("--life", "0s"), "subject_token.expired", id="expired"),
        pytest.param(("--target", "no-such"), "target.unknown", id="target"),
        pytest.param(("--depth", "8"), "delegation.depth_exceeded", id="ceiling"),
        pytest.param(
            ("--chain", "svc-b", "--foreign"), "subject_token.claim_not_believed", id="foreign-act"
        ),
    ],
)
def test_what_is_refused_before_the_policy_is_told_as_that(
    config: Path, words: tuple[str, ...], reason: str
) -> None:
    """With the step that refuses, and no policy is compiled for it."""
    result = run(
        *("--client", "svc-a", "--subject", "alice", "--subject-issuer", "idp"),
        *("--target", "svc-b", "--scope", "orders.read", *words, "--config", config),
        *("--why-not", "orders.read"),
    )

    assert result.exit_code == 0
    assert result.stdout.startswith(f"✗ refused  {reason}\n")
    assert "before the policy was asked" in result.stdout
    assert f"refuses the request ({reason}). Mend that first" in flat(result)


def test_a_policy_input_is_explained_without_a_configuration(
    policy_folder: Path, tmp_path: Path
) -> None:
    """It has all that a decision depends on."""
    path = tmp_path / "input.json"
    path.write_text(json.dumps(policy_input()))

    result = run(path, "--policies", policy_folder, "--format", "json")

    told = json.loads(result.stdout)
    assert told["explanation"]["agreement"] == "same"
    assert told["explanation"]["verdict"]["scopes"] == ["orders.read"]
    assert told["explanation"]["asked"]["client"] == "svc-a"
    assert (told["refusal"], told["recorded"], told["why_not"]) == (None, None, [])


def test_a_request_and_a_scenario_in_yaml_are_explained(config: Path, tmp_path: Path) -> None:
    """By the same words that scenario files have."""
    one, many = tmp_path / "one.yaml", tmp_path / "many.scenarios.yaml"
    one.write_text(yaml.safe_dump(QUESTION))
    rows = [
        {**QUESTION, "name": f"the {name} one", "then": "granted"} for name in ("first", "other")
    ]
    many.write_text(yaml.safe_dump({"title": "t", "setting": str(config), "rows": rows}))

    asked = run(one, "--config", config)
    chosen = run(many, "--scenario", "other", "--config", config)
    unclear = run(many, "--config", config)

    assert flat(asked).startswith("✓ permitted orders.read for 300 s")
    assert flat(chosen).startswith("✓ permitted orders.read for 300 s")
    assert unclear.exit_code == 2
    assert "the first one" in unclear.stderr


def test_why_not_is_answered_with_what_to_change_and_where(config: Path) -> None:
    """In one paragraph, for each scope that is asked about."""
    result = run(
        *(*WORDS, "--scope", "orders.read", "--subject-scope", "orders.read orders.write"),
        *("--why-not", "orders.write", "--why-not", "orders.read", "--config", config),
    )

    text = flat(result)
    assert (
        "orders.write is not granted: the request did not ask for it. This would grant it:" in text
    )
    assert "ask for orders.write." in text
    assert "orders.read is granted." in text


def test_what_can_be_sent_to_the_client_names_no_rule(config: Path) -> None:
    """Neither as text nor as JSON."""
    asked = (*WORDS, "--scope", "orders.read", "--for-client", "--config", config)

    text, data = run(*asked), run(*asked, "--format", "json")

    assert "- orders.read is not held by the subject token that you presented." in text.stdout
    assert json.loads(data.stdout)["error"] == "invalid_scope"
    for said in (text.stdout, data.stdout):
        assert not re.search(r"rego|broker\.|alice|idp", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "name one request", id="nothing"),
        pytest.param((*WORDS, "input.json"), "name one request", id="two-requests"),
        pytest.param(("--client", "svc-a"), "--subject: is required", id="no-subject"),
        pytest.param((*WORDS, "--client", "nobody"), "--client: nobody is no client", id="client"),
        pytest.param((*WORDS, "--chain", "no-such:x"), "--chain: no-such is no issuer", id="chain"),
        pytest.param((*WORDS, "--life", "soon"), "--life: ", id="life"),
        pytest.param((*WORDS, "--at", "noon"), "--at: ", id="time"),
        pytest.param((*WORDS, "--claim", "acr"), "--claim: write it like", id="claim"),
        pytest.param((*WORDS, "--subject-issuer", "x"), "--subject-issuer: x is no", id="issuer"),
        pytest.param(("no-such.json",), "no-such.json: cannot be read", id="no-file"),
        pytest.param(("no-such.yaml",), "no-such.yaml: cannot be read", id="no-yaml"),
    ],
)
def test_what_cannot_be_understood_names_the_option(
    config: Path, arguments: tuple[str, ...], said: str
) -> None:
    """And what to write instead, before anything is compiled."""
    result = run(*arguments, "--config", config)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps(policy_input() | {"subject": 1})])
def test_a_file_that_is_no_input_is_told_as_that(tmp_path: Path, text: str) -> None:
    """With the member, and never its value."""
    path = tmp_path / "input.json"
    path.write_text(text)

    result = run(path)

    assert result.exit_code == 2
    assert "input.json: is no" in " ".join(result.stderr.split())


def test_two_evaluations_that_differ_end_it_loudly(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, with both decisions, and with an exit code of its own."""
    honest = Observer.observe

    def other(observer: Observer, input: Any) -> Observation:  # noqa: A002 — the word of OPA
        return replace(honest(observer, input), decision={"allow": True})

    monkeypatch.setattr(Observer, "observe", other)
    asked = (*WORDS, "--scope", "orders.read", "--config", config)

    text, data = run(*asked), run(*asked, "--format", "json")

    assert (text.exit_code, data.exit_code) == (1, 1)
    assert "THE TWO EVALUATIONS DIFFER" in text.stderr
    assert "opa eval: {'allow': True}" in text.stderr
    assert json.loads(data.stdout)["explanation"]["agreement"] == "different"
