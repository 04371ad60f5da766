"""The workflow in ``examples/ci``: it parses, it asks for little, and its commands run here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.workbench.replay.markdown import MARK
from scripts.install_opa import PINNED
from tests.decisions import allowance
from tests.replaying import always, record, write_policy

WORKFLOW = Path(__file__).parents[3] / "examples" / "ci" / "policy.yml"
TEST = """package broker.exchange_test

import data.broker.exchange

test_it_decides if exchange.decision with input as {}
"""
# Answers as the forge's own command line does, and notes what it was asked to do.
FORGE = """#!/bin/sh
echo "$@" >> calls
case "$*" in *--paginate*) cat comments 2>/dev/null;; esac
exit 0
"""


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    """The file as YAML has it."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    return found


@pytest.fixture(scope="module")
def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of its one job."""
    (job,) = workflow["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


class Checkout:
    """A pull request that is checked out, with what was asked beside it."""

    def __init__(self, folder: Path, steps: list[dict[str, Any]]) -> None:
        self.folder = folder
        self._steps = {step["name"]: step for step in steps if "name" in step}
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "gh").write_text(FORGE)
        (bin_ / "gh").chmod(0o755)
        self._path = f"{bin_}:{Path(sys.executable).parent}:/usr/bin:/bin"

    def run(self, name: str, **environment: str) -> int:
        """Run one step as a runner does, and return how it ended."""
        home = {"HOME": str(self.folder), "PATH": self._path, "LC_ALL": "C.UTF-8"}
        files = {
            name: str(self.folder / name.lower())
            for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
        }
        opa = {"BROKER_OPA": os.environ["BROKER_OPA"]} if "BROKER_OPA" in os.environ else {}
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self._steps[name]["run"]],
            cwd=self.folder,
            env=home | files | opa | environment,
            check=False,
            capture_output=True,
            timeout=120,
        )
        return ended.returncode

    def read(self, name: str) -> str:
        """A file that a step has written; empty if none has."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""


def written(folder: Path, after: dict[str, Any], steps: list[dict[str, Any]]) -> Checkout:
    """A pull request that changes what everybody is told."""
    before = write_policy(folder / "base" / "policies", always(allowance()))
    changed = write_policy(folder / "policies", always(after))
    for policy in (before, changed):
        (policy / "decision_test.rego").write_text(TEST)
    lines = [json.dumps(record()) for _ in range(3)]
    (folder / "inputs.jsonl").write_text("\n".join(lines))
    return Checkout(folder, steps)


def test_a_pull_request_is_commented_with_what_it_changes(
    tmp_path: Path, steps: list[dict[str, Any]]
) -> None:
    """With nothing but a file of what was asked: no database is reached."""
    checkout = written(tmp_path, allowance(lifetime=240), steps)

    assert checkout.run("Replay") == 0
    assert checkout.run("Comment", REPOSITORY="o/r", REQUEST="7") == 0
    assert checkout.read("github_output").strip() == "code=3"
    assert checkout.read("replay.md").startswith(MARK)
    assert "longer life" in checkout.read("replay.md")
    assert "longer life" in checkout.read("github_step_summary")
    assert checkout.read("replay.html").startswith("<!doctype html>")
    posted = checkout.read("calls").splitlines()[-1]
    assert posted == "api --method POST repos/o/r/issues/7/comments --field body=@replay.md"


def test_the_comment_of_before_is_replaced(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    """A pull request with twenty pushes has one comment."""
    checkout = written(tmp_path, allowance(), steps)
    (tmp_path / "comments").write_text("4711\n")

    assert checkout.run("Comment", REPOSITORY="o/r", REQUEST="7") == 0
    changed = checkout.read("calls").splitlines()[-1]
    assert changed == "api --method PATCH repos/o/r/issues/comments/4711 --field body=@replay.md"


def test_the_policy_is_checked_and_tested(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    """Before anything is replayed."""
    checkout = written(tmp_path, allowance(), steps)

    assert (checkout.run("Check"), checkout.run("Test")) == (0, 0)


def test_without_a_result_the_check_fails(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    """A replay of nothing is no green check."""
    checkout = written(tmp_path, allowance(), steps)
    (tmp_path / "inputs.jsonl").write_text("")

    assert checkout.run("Replay") == 1
    assert checkout.read("github_output") == ""


def test_widening_fails_the_check(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    """Unless somebody has approved it."""
    checkout = written(tmp_path, allowance(), steps)
    (step,) = (step for step in steps if step.get("name") == "Somebody gets more")

    assert checkout.run("Somebody gets more") == 1
    assert "steps.replay.outputs.code == '3'" in step["if"]
    assert "policy: widening" in step["if"]


def test_it_may_do_no_more_than_comment(workflow: dict[str, Any]) -> None:
    """And never runs what a stranger says with the rights of the repository."""
    (job,) = workflow["jobs"].values()

    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert set(workflow[True]) == {"pull_request"}  # YAML 1.1 reads ``on`` as yes


def test_nothing_of_a_pull_request_gets_into_a_script(steps: list[dict[str, Any]]) -> None:
    """A branch can be called ``$(…)``: values come by the environment alone."""
    scripts = [step["run"] for step in steps if "run" in step]

    assert not [script for script in scripts if "${{" in script]


def test_steps_wait_for_steps_that_are_there(steps: list[dict[str, Any]]) -> None:
    """A condition on a step that nobody has is never true, and nobody would see it."""
    named = {step["id"] for step in steps if "id" in step}
    conditions = " ".join(str(step.get("if", "")) for step in steps)

    assert set(re.findall(r"steps\.(\w+)\.", conditions)) == named


def test_it_installs_the_opa_that_is_tested_here(steps: list[dict[str, Any]]) -> None:
    """Another one may compile to another revision."""
    (step,) = (one for one in steps if one.get("uses", "").startswith("open-policy-agent/"))

    assert step["with"]["version"] == PINNED
