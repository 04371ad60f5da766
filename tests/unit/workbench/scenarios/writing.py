"""Scenario files as people write them, good ones and others."""

from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from broker.workbench.scenarios.document import ScenarioFileError
from broker.workbench.scenarios.read import read_scenarios
from broker.workbench.scenarios.scenario import ScenarioFile

SETTING: Final = """\
title: A shop
setting:
  issuers: {idp: {asserts: [act]}, ci: {scopeless: true}}
  clients: {checkout: {targets: [checkout]}, inventory: {targets: [inventory]}}
  targets: {checkout: orders.read, inventory: inventory.read stock.read}
defaults:
  given: {subject: "idp:alice", holds: orders.write}
  when: {client: checkout, target: inventory}
"""


def write(folder: Path, text: str, setting: str = SETTING) -> Path:
    """Write a file with the usual setting before ``text``."""
    path = folder / "shop.scenarios.yaml"
    path.write_text(setting + dedent(text), encoding="utf-8")
    return path


def read(folder: Path, text: str, setting: str = SETTING) -> ScenarioFile:
    """Read it."""
    return read_scenarios(write(folder, text, setting))


def refusal(folder: Path, text: str, setting: str = SETTING) -> list[str]:
    """What is said of a file that cannot be read, a line each, from the line number on."""
    with pytest.raises(ScenarioFileError) as refused:
        read(folder, text, setting)
    return [line.partition(".yaml:")[2] for line in str(refused.value).splitlines()]
