"""``broker audit erase``: what identifies a person can be read no more, and the trail verifies."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Annotated, Final

import orjson
import typer
from rich.text import Text

from broker.audit.erase import Erased, count_keys, erase
from broker.audit.reader import UNREADABLE, RecordReader
from broker.audit.vault import Vault, load_vault
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.cli.audit.source import Unclear, told
from broker.cli.backing import Backing, open_existing
from broker.cli.console import build_console, printable
from broker.cli.options import Config, Format, Output
from broker.cli.recording import open_trail, operator
from broker.db.engine import Database
from broker.errors import CommitRejected
from broker.settings import Settings, load_settings

ERASE_HELP: Final = (
    "Exit codes: **0** erased, or there was nothing, **1** not confirmed, **2** could not.\n\n"
    "Example: `broker audit erase --subject alice --issuer https://idp.example.com"
    " --reason 'request of 2026-11-20'`"
)
_TIMEOUT: Final = timedelta(seconds=60)
_NEWEST: Final = 100  # rows, that tell whether the audit key is that of the brokers


def erase_person(
    subject: Annotated[str, typer.Option(help="The `sub` of the person.", show_default=False)],
    issuer: Annotated[
        str,
        typer.Option(
            help="The `iss` of that; `operator` for who administers, `source` for an address.",
            show_default=False,
        ),
    ],
    reason: Annotated[
        str,
        typer.Option(help="Why, for the record; name no person in it.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Destroy the keys of a person. It cannot be undone.

    Whatever identifies this person in any record, as subject or as actor, can be read no more, and
    so can what stands beside it in these records: policy input, decision, address. The rows stay,
    with a pseudonym, and verify. Records of the next five minutes may be erased with them. Copies
    of the database that were made before still have the keys: let backups expire.
    """
    with told():
        if not subject or not issuer or len(reason) > 512:
            raise Unclear("--subject, --issuer, --reason: write something, and a short reason")
        settings = load_settings(config)
        with open_existing(settings) as backing:
            vault = load_vault(settings)
            person = vault.person(issuer, subject)
            try:
                found, revoked = asyncio.run(_look(backing, vault, issuer, subject))
            except LedgerUnavailable as error:
                raise Unclear(f"{error}, so nothing was erased") from None
            if not yes:
                who = printable(f"{subject} of {issuer}")
                question = f"{found} keys of {who} will be destroyed, for good. Go on?"
                if not typer.confirm(question, err=True):
                    raise typer.Exit(1)
            try:
                done = asyncio.run(_erase(settings, backing, issuer, person, reason))
            except (CommitRejected, TimeoutError):
                raise Unclear("the audit trail cannot be written, so nothing was erased") from None
    _print(done, revoked, output)


async def _look(backing: Backing, vault: Vault, issuer: str, subject: str) -> tuple[int, int]:
    """Return how many keys there are, and how many revocations that name the person."""
    async with aclosing(Database(backing.app_url, timeout=_TIMEOUT)) as database:
        rules = await Ledger(database).find_party(issuer, subject)
        found = await count_keys(database, issuer, vault.person(issuer, subject))
        if not found:
            # By another audit key everybody has another pseudonym, and nobody is ever found.
            opened = await RecordReader(database, vault).open_newest(_NEWEST)
            if any(record.get("personal") == UNREADABLE for record in opened):
                raise Unclear(
                    "audit.key_file: it does not open all of the newest rows, so who is on record"
                    " cannot be told; run: broker doctor"
                )
        return found, len(rules)


async def _erase(
    settings: Settings, backing: Backing, issuer: str, person: str, reason: str
) -> Erased:
    async with (
        aclosing(Database(backing.app_url, timeout=_TIMEOUT)) as database,
        open_trail(settings, database) as trail,
    ):
        return await erase(
            database, trail, issuer=issuer, person=person, reason=reason, by=operator()
        )


def _print(done: Erased, revoked: int, output: Format) -> None:
    if output is Format.JSON:
        told = {"person": done.person, "keys": done.keys, "revocations": revoked}
        print(orjson.dumps(told).decode())
        return
    console = build_console()
    if done.keys:
        many = "1 key was" if done.keys == 1 else f"{done.keys} keys were"
        console.print(Text.assemble(("✓ erased", "good"), f": {many} destroyed"))
        console.print(Text(f"  The rows stay, as {done.person}.", "quiet"))
    else:
        console.print(Text("Nothing on record is sealed under a key of this person.", "quiet"))
    if revoked:
        many = "revocation names" if revoked == 1 else "revocations name"
        console.print(Text.assemble(("! ", "warning"), f"{revoked} {many} this person still"))
        console.print(Text("  The ledger has to know whom to refuse, and keeps its rows.", "quiet"))
