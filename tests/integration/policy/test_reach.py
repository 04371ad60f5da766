"""What is said to be reached is obtained by supposed exchanges, hop by hop, and nothing else is."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from broker.cli.policy import app
from broker.policy.bundle import Bundle
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.onward import token_of
from broker.workbench.question import Question, SupposedToken
from broker.workbench.reach.dot import render_dot
from broker.workbench.reach.picture import render_file
from broker.workbench.reach.walk import Reach, Walker, prune
from broker.workbench.scenarios.ask import Answer, ask
from tests.integration.policy.conftest import STOCK
from tests.integration.policy.test_matrix import (
    AT,
    CLIENTS,
    SCOPES,
    SOURCES,
    grants,
    run,
    setting,
    with_grants,
    written,
)

__all__ = ["setting", "written"]  # fixtures
PURPOSES = (None, "audit", "billing")


def walk(
    bundle: Bundle, parties: Settings, client: str, holds: tuple[str, ...], **options: Any
) -> Reach:
    """What is reached with a token of the identity provider in the hands of a client."""
    token = SupposedToken("idp", "alice", frozenset(holds))
    hops = options.pop("hops", 3)
    with closing(Candidate(bundle, ceiling=parties.max_delegation_depth)) as candidate:
        walker = Walker(
            candidate, parties, Circumstance(AT), gather(bundle, parties), Budget(), **options
        )
        return walker.walk(client, token, hops)


def exchange(
    candidate: Candidate,
    parties: Settings,
    client: str,
    token: SupposedToken,
    target: str,
    scopes: tuple[str, ...],
    purpose: str | None,
) -> Answer:
    """One supposed exchange, by all that the pipeline asks."""
    question = Question(client, token, AT, (target,), scopes=scopes, purpose=purpose)
    return ask(question, parties, candidate)


@settings(deadline=None, max_examples=8)
@given(granted=grants(), client=st.sampled_from(CLIENTS), data=st.data())
def test_what_is_reached_is_what_a_chain_of_supposed_exchanges_obtains(
    bundle: Bundle, setting: Settings, granted: dict[str, Any], client: str, data: st.DataObject
) -> None:
    """Every path is obtained as it is told, and every chain that is obtained is a path."""
    holds = tuple(data.draw(st.lists(st.sampled_from(SOURCES), unique=True)))
    asked_of = with_grants(bundle, granted)
    reach = walk(asked_of, setting, client, holds)
    first = SupposedToken("idp", "alice", frozenset(holds))
    with closing(Candidate(asked_of, ceiling=setting.max_delegation_depth)) as candidate:
        for path in list(reach.paths)[:40]:
            token = first
            for hop in path:
                purpose = hop.purposes[0] if hop.purposes else None
                answer = exchange(
                    candidate, setting, hop.client, token, hop.target, hop.scopes, purpose
                )
                assert answer.permit is not None
                assert answer.verdict.scopes == hop.scopes
                assert answer.verdict.lifetime == hop.terms.lifetime
                token = token_of(answer.permit, timedelta())

        reached = {
            (tuple((h.client, h.target) for h in path), scope)
            for path in reach.paths
            for scope in path[-1].scopes
        }
        places, token = (), first
        for number in range(3):
            who = client if number == 0 else data.draw(st.sampled_from(CLIENTS))
            target = data.draw(st.sampled_from(CLIENTS))
            for scope in SCOPES:
                for purpose in PURPOSES:
                    answer = exchange(candidate, setting, who, token, target, (scope,), purpose)
                    if answer.permit is not None:
                        assert ((*places, (who, target)), scope) in reached
                        onward = answer.permit
            if not any(path[:-1] == places and path[-1] == (who, target) for path, _ in reached):
                break
            places, token = (*places, (who, target)), token_of(onward, timedelta())


def test_a_chain_of_grants_is_followed_to_its_end_and_no_further(
    bundle: Bundle, setting: Settings
) -> None:
    """Scopes and life get less on the way, and the depth that a grant allows is its last."""
    granted = {
        "svc-a": {"svc-b": {"scopes": ["orders.read", "orders.write"], "max_lifetime": "1m"}},
        "svc-b": {"svc-c": {"scopes": ["orders.read"], "max_depth": 2}},
        "svc-c": {"svc-a": {"scopes": ["orders.read"]}},
    }
    reach = walk(with_grants(bundle, granted), setting, "svc-a", ("orders.read", "orders.write"))

    paths = [[(hop.client, hop.target) for hop in path] for path in reach.paths]
    assert paths == [[("svc-a", "svc-b")], [("svc-a", "svc-b"), ("svc-b", "svc-c")]]
    first, second = list(reach.paths)[-1]
    assert (first.scopes, second.scopes) == (("orders.read", "orders.write"), ("orders.read",))
    assert (first.terms.lifetime, second.terms.lifetime) == (60, 60)
    assert (second.depth, second.chain) == (2, ("svc-b", "svc-a"))
    one = walk(with_grants(bundle, granted), setting, "svc-a", ("orders.read",), hops=1)
    assert [len(path) for path in one.paths] == [1]


def test_only_what_leads_to_a_target_is_left(bundle: Bundle, setting: Settings) -> None:
    """As far as it, and no side way."""
    everywhere = {name: {"scopes": ["orders.read"], "reentry": True} for name in CLIENTS}
    granted = dict.fromkeys(CLIENTS, everywhere)
    reach = walk(with_grants(bundle, granted), setting, "svc-a", ("orders.read",))

    left = replace(reach, hops=tuple(prune(list(reach.hops), "svc-c")))

    ends = [path[-1].target for path in left.paths if not path[-1].hops]
    assert set(ends) == {"svc-c"}


def test_a_walk_that_is_cut_says_so(bundle: Bundle, setting: Settings) -> None:
    """There may be more, and nobody takes it for all."""
    granted = {client: {t: {"scopes": ["orders.read"]} for t in CLIENTS} for client in CLIENTS}

    reach = walk(with_grants(bundle, granted), setting, "svc-a", ("orders.read",), most=2)

    assert reach.cut == "after 2 exchanges"
    assert len(list(reach.paths)) == 2


def test_names_of_others_are_text_in_every_picture(bundle: Bundle, setting: Settings) -> None:
    """A scope is a name that somebody chose: no markup, no end of a label."""
    scope = "<script>x</script>\\x"
    target = setting.targets[1].model_copy(update={"scopes": frozenset({scope})})
    parties = setting.model_copy(update={"targets": (target,)})
    granted = {"svc-a": {target.name: {"scopes": [scope]}}}

    reach = walk(with_grants(bundle, granted), parties, "svc-a", (scope,))

    picture = render_file(reach)
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in picture
    assert "\\\\x" in render_dot(reach)
    assert "\\\\\\" not in render_dot(reach)


@pytest.mark.usefixtures("opa")
def test_the_command_tells_the_paths_of_the_stock_policy(written: Path, tmp_path: Path) -> None:
    """As a tree, as JSON, and to one target alone."""
    policies = tmp_path / "stock"
    shutil.copytree(STOCK, policies)
    asked = ["reach", "checkout", "--policies", str(policies), "--subject-scope", "orders.write"]
    asked += ["--config", str(written / "broker.yaml")]
    invoked = CliRunner().invoke(app, asked, env={"COLUMNS": "160"})

    said = " ".join(invoked.stdout.split())
    assert invoked.exit_code == 0
    assert "checkout → inventory stock.read ← orders.write 2m" in said
    assert "ledger.read at ledger checkout → inventory ⇒ inventory → ledger" in said
    found = json.loads(CliRunner().invoke(app, [*asked, "--format", "json"]).stdout)
    assert [(one["target"], one["scope"]) for one in found["obtainable"]] == [
        ("inventory", "stock.read"),
        ("ledger", "ledger.read"),
    ]
    nobody = CliRunner().invoke(app, ["reach", "nobody", *asked[2:]])
    assert nobody.exit_code != 0
    assert run(written, policies).exit_code == 0
