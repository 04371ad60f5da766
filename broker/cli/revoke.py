"""``broker revoke``: cut something off, everywhere and at once, and see what that hits."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.audit.vault import load_vault
from broker.blocklist.feed import memory_of
from broker.blocklist.rule import Rule, RuleInvalid, Scope
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.cli.backing import Backing, open_existing
from broker.cli.console import build_console
from broker.cli.options import Config, Format, ListFormat, ListOutput, Output
from broker.cli.recording import open_trail, operator, utc_now
from broker.cli.revocation_tables import print_hit, print_hit_json, print_rules, print_rules_json
from broker.db.engine import Database
from broker.errors import CommitRejected
from broker.keys.keyring import longest_life
from broker.revocation.operator import (
    Hit,
    OperatorRevocation,
    Order,
    Survey,
    parse_not_before,
)
from broker.settings import Settings, load_settings

NOT_COUNTED: Final = 1
COULD_NOT: Final = 2
_TIMEOUT: Final = timedelta(seconds=30)  # of a statement: to count may take a while

# The option that names what is revoked, and whether ``--issuer`` goes with it.
_OPTIONS: Final = {
    Scope.JTI: ("--jti", None),  # may, and ours is understood
    Scope.TXN: ("--txn", False),
    Scope.SUBJECT: ("--subject", True),
    Scope.ACTOR: ("--actor", True),
    Scope.CLIENT: ("--client", False),
    Scope.KID: ("--kid", True),
    Scope.ISSUER: ("--all-of", False),
    Scope.ALL: ("--everything", False),
}

app = typer.Typer(rich_markup_mode="markdown")


@app.callback(
    invoke_without_command=True,
    no_args_is_help=True,
    epilog="Exit codes: **0** revoked, or shown by `--dry-run`, **1** revoked, and what it hits"
    " could not be counted, **2** not revoked, as far as is known.\n\nExample: `broker revoke"
    " --subject alice --issuer https://idp.example.com --reason 'laptop stolen'"
    " --config broker.yaml`",
)
def revoke(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Option(help="A user: whatever was ever issued on its behalf.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(help="Whoever acted, anywhere in a chain: its `sub`.")
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(help="The `iss` that goes with it; for `--jti` ours, unless it is said."),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(help="A client of ours: what it holds, and what it asks for, for 24 hours."),
    ] = None,
    jti: Annotated[
        str | None, typer.Option(help="One token, and whatever was derived from it.")
    ] = None,
    txn: Annotated[
        str | None, typer.Option(help="Everything that began with one exchange.")
    ] = None,
    kid: Annotated[
        str | None,
        typer.Option(help="A key of another issuer; one of ours by `broker keys revoke`."),
    ] = None,
    all_of: Annotated[
        str | None, typer.Option("--all-of", help="Everybody of an issuer: its `iss`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All tokens there are.")] = False,
    not_before: Annotated[
        str | None,
        typer.Option(
            help="What was issued before is dead: `2026-11-24T12:00:00Z`, `+24h` to block until"
            " then, `-1h` to spare what is younger. Absent: now, and for a client in 24 hours.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, for the audit trail and the ledger; required.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would hit.")
    ] = False,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Cut off a user, an actor, a client, a token or more, and say how many live tokens that hits.

    Every broker refuses them, and whatever descends from them, within seconds, and is told at once.
    Who verifies offline accepts them until they expire; the answer says when that is. Whoever logs
    in again afterwards gets new tokens. A revocation cannot be taken back.
    """
    if context.invoked_subcommand is not None:
        return
    named = {
        Scope.JTI: jti,
        Scope.TXN: txn,
        Scope.SUBJECT: subject,
        Scope.ACTOR: actor,
        Scope.CLIENT: client,
        Scope.KID: kid,
        Scope.ISSUER: all_of,
        Scope.ALL: "" if everything else None,
    }
    settings = load_settings(config)
    with _told():
        order = _order(settings, named, issuer=issuer, not_before=not_before, reason=reason)
        with open_existing(settings) as backing:
            hit = asyncio.run(_revoke(settings, backing, order, dry_run=dry_run))
    if output is Format.JSON:
        print_hit_json(hit, dry_run=dry_run)
    else:
        print_hit(build_console(), hit, dry_run=dry_run)
    if hit.reach is None:
        _warn("what it hits could not be counted", "see broker doctor")
        raise typer.Exit(NOT_COUNTED)


@app.command(
    "list",
    epilog="Exit codes: **0** listed, **2** could not ask.\n\n"
    "Example: `broker revoke list --config broker.yaml`",
)
def show(config: Config = None, output: ListOutput = ListFormat.TABLE) -> None:
    """List the revocations in force: those that a token could still meet, the newest first.

    Of several on one thing, the one that counts. A table has the newest 100.
    """
    settings = load_settings(config)
    with _told(), open_existing(settings) as backing:
        rules = asyncio.run(_list(settings, backing))
    if output is ListFormat.TABLE:
        print_rules(build_console(), rules)
    else:
        print_rules_json(rules, lines=output is ListFormat.JSONL)


def _order(
    settings: Settings,
    named: dict[Scope, str | None],
    *,
    issuer: str | None,
    not_before: str | None,
    reason: str | None,
) -> Order:
    given = [(scope, key) for scope, key in named.items() if key is not None]
    if len(given) != 1:
        options = ", ".join(option for option, _ in _OPTIONS.values())
        raise RuleInvalid(f"say one thing to revoke: {options}")
    ((scope, key),) = given
    option, with_issuer = _OPTIONS[scope]
    if with_issuer and issuer is None:
        raise RuleInvalid(f"{option}: say --issuer as well; nobody is anybody without it")
    if with_issuer is False and issuer is not None:
        raise RuleInvalid(f"{option}: leave out --issuer")
    if scope is Scope.KID and issuer == settings.issuer:
        raise RuleInvalid("--kid: a key of ours is revoked by broker keys revoke")
    if reason is None:
        raise RuleInvalid("say --reason; it is recorded")
    if scope is Scope.ISSUER:
        issuer, key = key, ""
    return Order(
        scope,
        reason,
        issuer=settings.issuer if scope is Scope.JTI and issuer is None else issuer or "",
        key=key,
        not_before=None if not_before is None else parse_not_before(not_before, utc_now()),
    )


async def _revoke(settings: Settings, backing: Backing, order: Order, *, dry_run: bool) -> Hit:
    async with aclosing(Database(backing.app_url, timeout=_TIMEOUT)) as database:
        survey = _survey(settings, database)
        if dry_run:
            return await survey.preview(order, by=operator())
        async with open_trail(settings, database) as trail:
            return await OperatorRevocation(survey, trail).revoke(order, by=operator())


async def _list(settings: Settings, backing: Backing) -> list[Rule]:
    async with aclosing(Database(backing.app_url, timeout=_TIMEOUT)) as database:
        return await _survey(settings, database).find_rules()


def _survey(settings: Settings, database: Database) -> Survey:
    return Survey(
        issuer=settings.issuer,
        ledger=Ledger(database),
        database=database,
        pseudonym=load_vault(settings).pseudonym,
        longest_life=longest_life(settings),
        memory=lambda: memory_of(settings),
        clock=utc_now,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a line why nothing was revoked or listed."""
    try:
        yield
    except RuleInvalid as invalid:
        _warn(str(invalid), "see broker revoke --help")
        raise typer.Exit(COULD_NOT) from None
    except LedgerUnavailable:
        _warn("the database does not answer, so this is not known to be done", "see broker doctor")
        raise typer.Exit(COULD_NOT) from None
    except (CommitRejected, TimeoutError):
        _warn("the audit trail cannot be written, so nothing was revoked", "see broker doctor")
        raise typer.Exit(COULD_NOT) from None


def _warn(text: str, remedy: str) -> None:
    errors = build_console(stderr=True)
    errors.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    errors.print(f"  → {remedy}", markup=False)
