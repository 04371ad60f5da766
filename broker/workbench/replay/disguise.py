"""Decisions to take along, without the persons in them: for where the trail itself may not go.

Names of persons become words that stand for the same person within one file and for nobody outside
of it, addresses one of the documentation's (RFC 5737), and values of claims words as well, unless
they are named as harmless. Names of clients, targets, scopes and issuers stay: they are no persons.

A policy may look at what was replaced. So a decision is kept only if every policy that is asked
says the same to the disguised input; whoever replays a file of them finds what the trail would say.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final

import orjson

from broker.domain import INPUT_VERSION
from broker.policy.decision import DecisionMalformed, read_decision
from broker.workbench.replay.past import Past

SOURCE: Final = "192.0.2.1"
_BYTES: Final = 9  # of a word: no two persons of a trail share one


class Disguise:
    """One file's: what it replaces alike, another one replaces otherwise."""

    def __init__(self, secret: bytes, *, harmless: frozenset[str] = frozenset()) -> None:
        """``secret`` is forgotten with it; ``harmless`` claims keep their values."""
        self._secret = secret
        self._harmless = harmless

    def input_of(self, past: Past) -> dict[str, Any]:
        """Return the input without persons. Raises as reading it does, if it is none."""
        document = past.document
        delegation = document["delegation"]
        return {
            **document,
            "request": {**document["request"], "source": SOURCE},
            "subject": self._token(document["subject"], past.issuer),
            "actor": document["actor"] and self._token(document["actor"], past.issuer),
            "delegation": {
                **delegation,
                "acting": self._principal(delegation["acting"], past.issuer),
                "chain": [self._principal(one, past.issuer) for one in delegation["chain"]],
            },
        }

    def _token(self, token: Mapping[str, Any], ours: str) -> dict[str, Any]:
        return {
            **token,
            **self._principal(token, ours),
            "claims": {
                name: value if name in self._harmless else self._word("claim", name, value)
                for name, value in token["claims"].items()
            },
        }

    def _principal(self, principal: Mapping[str, Any], ours: str) -> dict[str, Any]:
        """Return who it is; whom our own issuer names is a client."""
        issuer, subject = principal["issuer"], principal["subject"]
        named = subject if issuer == ours else self._word("person", issuer, subject)
        return {"issuer": issuer, "subject": named}

    def _word(self, kind: str, *what: object) -> str:
        digest = hmac.digest(self._secret, orjson.dumps([kind, *what]), "sha256")
        return f"{kind}-{digest[:_BYTES].hex()}"


def is_decision(output: object) -> bool:
    """Whether this is a decision: what else a policy says may repeat anything of its input."""
    try:
        read_decision(output)
    except DecisionMalformed:
        return False
    return True


def render_kept(past: Past, document: Mapping[str, Any]) -> bytes:
    """Return the line of a decision, which is replayed as any opened record is."""
    return orjson.dumps(
        {
            "version": 1,
            "kind": "exchange",
            "id": past.id,
            "at": past.at,
            "issuer": past.issuer,
            "client": {"id": past.client},
            "targets": [target["name"] for target in document["request"]["targets"]],
            "policy": {"revision": past.revision, "input_version": INPUT_VERSION},
            "personal": {"policy_input": document, "decision": past.output},
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
