"""The policy asked once for each grant: whether it ends, and answers with a decision.

What a good request of a client would be is taken from its grant. Nothing is concluded from a no.
A rule that only loops for a request that nobody thought of is not found here; the broker ends it
after ``policy.deadline`` all the same.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle
from broker.policy.compiler import run_opa
from broker.policy.decision import DecisionMalformed, read_decision
from broker.policy.engine import PolicyUnavailable
from broker.policy.guest import GuestFailed
from broker.policy.review.flaw import Flaw, fault
from broker.policy.review.reach import Grants
from broker.policy.review.request import build_request
from broker.policy.snapshot import Snapshot
from broker.policy.wasm import WasmEngine
from broker.settings import Settings

_DEADLINE: Final = timedelta(seconds=1)  # twenty times what a decision may take by default
_MOST: Final = 32  # grants
_DECISION: Final = "data.broker.exchange.decision"
_ENDED: Final = "eval_cancel_error"
_LATE: Final = f"does not end within {_DEADLINE.total_seconds():g} s"
_MEMORY: Final = "needs more memory than an instance may have"


def probe(
    opa: Path,
    snapshot: Snapshot,
    bundle: Bundle,
    grants: Grants,
    settings: Settings | None,
    folder: Path,
) -> Iterator[Flaw]:
    """Yield the first thing that keeps a decision from being made, with file and line."""
    engine = WasmEngine(bundle, deadline=_DEADLINE)
    try:
        for (client, target), grant in islice(grants.items(), _MOST):
            asked = orjson.dumps(build_request(client, target, grant, settings))
            said = _ask(engine, asked)
            if said is not None:
                place, text = _explain(opa, snapshot, folder, asked, *said)
                yield fault(
                    place,
                    "decision",
                    f"asked by {client} for {target}, the policy {text}",
                    "mend it: a decision that cannot be made is a refusal, or a 503",
                )
                return
    finally:
        engine.close()


def _ask(engine: WasmEngine, asked: bytes) -> tuple[str, str] | None:
    """Return the member that is at fault, and a sentence; None: nothing is."""
    try:
        output = engine.decide(asked).output
        if output is None:
            return "undefined", "has no answer"
        read_decision(output)
    except PolicyUnavailable as unavailable:
        failed = unavailable.__cause__
        if isinstance(failed, GuestFailed):
            return _what(failed)
        return "memory", _MEMORY  # no instance that could be asked
    except DecisionMalformed as malformed:
        return str(
            malformed
        ), f"gives no decision: its {malformed} is not as schemas/decision.json says"
    return None


def _what(failed: GuestFailed) -> tuple[str, str]:
    if failed.cause == "late":
        return "decision", _LATE
    # OPA's own allocator says so; a memory that may not grow traps elsewhere.
    short = failed.cause == "memory" or "malloc" in str(failed.__cause__)
    return "decision", _MEMORY if short else "fails"


def _explain(
    opa: Path, snapshot: Snapshot, folder: Path, asked: bytes, member: str, text: str
) -> tuple[str, str]:
    """Return where it goes wrong, and what ``opa`` says of it; it knows the lines."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(asked)
        file.flush()
        said = _evaluate(opa, folder, file.name)
    for error in said.get("errors") or ():
        for location in (error.get("location"), *_stack(error)):
            if location and location.get("file"):
                place = f"{folder / location['file'].lstrip('/')}:{location.get('row', 1)}"
                ended = error.get("code") == _ENDED
                return place, text if ended else f"fails: {error.get('message', '')}"
    return _spelt(snapshot, folder, member), text


def _stack(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    # Where it was when it was ended: the innermost first.
    yield from (each.get("location") or {} for each in error.get("stack_trace") or ())


def _spelt(snapshot: Snapshot, folder: Path, member: str) -> str:
    """Return where the decision's own file speaks of a member."""
    name = "broker/exchange/decision.rego"
    text = snapshot.get(name, b"").decode(errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(rf'"{re.escape(member)}":|^{re.escape(member)}\b', line):
            return f"{folder / name}:{number}"
    return f"{folder / name}:1"


def _evaluate(opa: Path, folder: Path, asked: str) -> Mapping[str, Any]:
    arguments = ["eval", "--format", "json", "--bundle", ".", "--input", asked]
    seconds = f"{_DEADLINE.total_seconds():g}s"
    try:
        ended = run_opa(
            opa, [*arguments, "--timeout", seconds, _DECISION], folder=folder, deadline=10
        )
        found = json.loads(ended.stdout)
    except (ConfigurationError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
