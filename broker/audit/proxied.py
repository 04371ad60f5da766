"""The records of the token proxy: what was fetched from an upstream, and how often it was used.

A client here is one of the upstream's, which knew its secret; it need not be one of ours, even if
it is called the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from broker.audit.event import (
    VERSION,
    Event,
    bounded_document,
    bounded_json,
    build_event,
    render_text,
    render_texts,
    render_time,
)
from broker.audit.vault import Vault
from broker.domain import Attempt, Fetched, ProxyQuestion

MAX_LINES: Final = 500  # of one row of hits; what is beyond is in its total

Label = tuple[str, str, str]  # upstream, client, scope


def build_fetched(
    attempt: Attempt,
    question: ProxyQuestion,
    fetched: Fetched,
    *,
    id: str,  # noqa: A002 — the column's name
    issuer: str,
    vault: Vault | None = None,
) -> Event:
    """Return the event of a token that an upstream gave, before anybody here has it."""
    personal: dict[str, Any] = {"source": render_text(attempt.source)}
    record: dict[str, Any] = {
        "version": VERSION,
        "kind": "proxy",
        "id": id,
        "at": render_time(attempt.at),
        "outcome": "issued",
        "request_id": attempt.id,
        "issuer": issuer,
        "client": {
            "id": render_text(question.unverified_client_id),
            "auth_method": fetched.auth_method,
        },
        "asked": describe_question(question),
        "scopes": render_texts(fetched.scopes),
        "expires_in": fetched.expires_in,
        "token_sha256": fetched.digest,
        "personal": personal,
    }
    evaluation = attempt.evaluation
    if evaluation is not None:
        record["policy"] = {
            "revision": evaluation.revision,
            "decision_id": evaluation.decision_id,
        }
        personal["policy_input"] = bounded_json(evaluation.input)
        personal["decision"] = bounded_document(evaluation.output)
    return build_event(record, vault)


def build_hits(
    hits: Mapping[Label, int],
    *,
    id: str,  # noqa: A002 — the column's name
    since: datetime,
    until: datetime,
) -> Event:
    """Return the event of all answers of an interval that no upstream was asked for."""
    most = sorted(hits.items(), key=lambda item: (-item[1], item[0]))[:MAX_LINES]
    return build_event(
        {
            "version": VERSION,
            "kind": "hits",
            "id": id,
            "at": render_time(until),
            "since": render_time(since),
            "outcome": "done",
            "hits": [
                {
                    "upstream": upstream,
                    "client": render_text(client),
                    "scope": render_text(scope),
                    "hits": count,
                }
                for (upstream, client, scope), count in most
            ],
            "total": sum(hits.values()),
        }
    )


def describe_question(question: ProxyQuestion) -> dict[str, Any]:
    """Return what was asked; of further parameters the names, for their values may be anything."""
    return {
        "upstream": render_text(question.upstream),
        "unverified_client": render_text(question.unverified_client_id),
        "scopes": render_texts(question.scopes),
        "audiences": render_texts(question.audiences),
        "resources": render_texts(question.resources),
        "parameters": render_texts(name for name, _ in question.parameters),
    }
