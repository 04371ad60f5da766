"""What ``broker audit query`` and ``export`` ask for: their options, called and explained alike."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

from broker.cli.audit.source import Unclear
from broker.explorer import question
from broker.explorer.question import Question, check_value, parse_question

Since = Annotated[
    str | None, typer.Option(help="From then on: `24h` ago, or `2026-11-24T12:00:00Z`.")
]
Until = Annotated[str | None, typer.Option(help="Before then.")]
Zone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="Of times without an offset, and of those in the table, like `Europe/Berlin`;"
        " absent: UTC.",
        show_default=False,
    ),
]
Client = Annotated[str | None, typer.Option(help="The client that asked.")]
Subject = Annotated[str | None, typer.Option(help="On whose behalf: its `sub`.")]
SubjectIssuer = Annotated[str | None, typer.Option(help="The `iss` of that.")]
Actor = Annotated[str | None, typer.Option(help="Who acted, anywhere in the chain: its `sub`.")]
ActorIssuer = Annotated[str | None, typer.Option(help="The `iss` of that.")]
Target = Annotated[str | None, typer.Option(help="Name of the target.")]
Outcome = Annotated[str | None, typer.Option(help="`issued`, `refused` or `done`.")]
Why = Annotated[
    str | None, typer.Option(help="Why it was refused, like `policy.scope_not_granted`.")
]
Txn = Annotated[str | None, typer.Option(help="Everything that began with one exchange.")]
Jti = Annotated[str | None, typer.Option(help="The one token.")]
Parent = Annotated[
    str | None, typer.Option(help="What the token with this `jti` was exchanged for.")
]
Kind = Annotated[
    str | None, typer.Option(help="Like `exchange`, `refusals`, `administration` or `writer`.")
]
RequestId = Annotated[str | None, typer.Option(help="As answered in X-Request-Id.")]
Action = Annotated[
    str | None, typer.Option(help="What was done, like `key.activate`, `audit.query` or `reuse`.")
]

FIELDS: Final = frozenset({*question.FILTERS, question.ZONE})
_OPTIONS: Final = {question.ZONE: "--timezone"}


def option_of(field: str) -> str:
    """Return the option that a field of a question is asked by."""
    return _OPTIONS.get(field, f"--{field.replace('_', '-')}")


def parse_asked(given: Mapping[str, str | None]) -> Question:
    """Return what the options ask, by the names of the fields. Raises ``Unclear``.

    They mean what they mean in the address of an explorer, so a place in the pages of one is a
    place in the pages of the other.
    """
    found = {name: value for name, value in given.items() if value is not None}
    try:
        for name, value in found.items():
            check_value(name, value)
            if not value.strip():
                raise Unclear(f"{option_of(name)}: is empty; leave it out, or say what to look for")
        return parse_question(found, ZoneInfo("UTC"), datetime.now(UTC))
    except question.Unclear as error:
        raise Unclear(f"{option_of(error.field)}: {error}") from None
