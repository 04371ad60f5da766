"""Records of decisions, as a trail has them once they are opened, and policies to ask again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from broker.audit.outcome import build_refused
from broker.db.engine import Database
from broker.domain import Deny, Evaluation, Exchange, Permit
from broker.errors import Reason
from broker.policy.input import build_input
from broker.workbench.candidate import Candidate
from broker.workbench.replay.change import Change
from broker.workbench.replay.past import Past, read_past
from broker.workbench.replay.report import Report
from broker.workbench.replay.tally import Tally
from tests import builders
from tests.audit import attempt, evaluation, new_id, signed_token
from tests.decisions import allowance
from tests.looking import running_trail


def record(exchange: Exchange | None = None, output: Any = None, **members: Any) -> dict[str, Any]:
    """The opened record of a decision; ``members`` go before what is in it."""
    asked = exchange or builders.exchange()
    answer = evaluation(
        input=orjson.dumps(build_input(asked)), output=allowance() if output is None else output
    )
    made = attempt(exchange=asked, at=asked.at, evaluation=answer)
    event = build_refused(made, Reason.POLICY_DENIED, id=new_id(), issuer=builders.BROKER)
    found: dict[str, Any] = json.loads(event.record)
    return found | members


def past(**members: Any) -> Past:
    """A decision that can be made again."""
    found = read_past(record(**members))
    assert isinstance(found, Past)
    return found


def report(tally: Tally | None = None, **overrides: Any) -> Report:
    """A replay of all there is against what was recorded."""
    values: dict[str, Any] = {
        "candidate": "c0ffee" * 10,
        "against": None,
        "since": None,
        "until": None,
        "client": None,
        "target": None,
        "limit": None,
        "sample": 1.0,
        "whole": True,
        "tally": tally or tally_of(),
    }
    return Report(**values | overrides)


def tally_of(*changes: Sequence[Change], decision: Past | None = None) -> Tally:
    """A tally of as many decisions as there are arguments, each of which changes so."""
    made, one = Tally(), decision or past()
    for each in changes:
        made.add(one, tuple(each))
    return made


def write_policy(folder: Path, rego: str) -> Path:
    """A policy of one rule."""
    folder.mkdir(parents=True)
    (folder / "decision.rego").write_text(f"package broker.exchange\n\n{rego}\n")
    return folder


def always(output: Mapping[str, Any]) -> str:
    """The rule of a policy that says the same to everybody."""
    return f"decision := {json.dumps(output)}"


async def write_decided(url: str, policy: Candidate, *exchanges: Exchange) -> None:
    """Have on record what the policy says to these, as a broker would."""
    database = Database(url)
    async with running_trail(database) as trail:
        for asked in exchanges:
            question = orjson.dumps(build_input(asked))
            answer: Evaluation = policy.evaluate(question)
            decision = policy.judge(asked, question)
            made = attempt(exchange=asked, at=asked.at, evaluation=answer)
            if isinstance(decision, Permit):
                await trail.commit(made, signed_token(made, permit=decision))
            else:
                assert isinstance(decision, Deny)
                made = attempt(exchange=asked, at=asked.at, evaluation=answer, deny=decision)
                await trail.refuse(made, decision.reasons[0])
    await database.aclose()
