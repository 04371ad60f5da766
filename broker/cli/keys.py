"""``broker keys``: the keys that tokens are signed with, and what an operator does to them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from broker.audit.commit import AuditTrail
from broker.blocklist.revoke import revoke as revoke_rule
from broker.blocklist.rule import RuleInvalid, Scope
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.cli.backing import Backing, open_existing
from broker.cli.console import build_console
from broker.cli.key_tables import describe_key, print_keys, print_keys_json, print_keys_jsonl
from broker.cli.options import Config, ListFormat, ListOutput
from broker.cli.recording import open_trail, operator, utc_now
from broker.db.engine import Database
from broker.errors import CommitRejected, ConfigurationError
from broker.keys.envelope import Envelope, load_kek
from broker.keys.keyring import build_schedule
from broker.keys.load import load_providers
from broker.keys.provider import ProviderUnavailable, SealedKey, StoredKey, Unopenable
from broker.keys.rotation import KeyState, Schedule, TooEarly
from broker.keys.rotator import Rotator
from broker.keys.store import GenerationLost, KeyStore, StoreUnavailable
from broker.settings import Settings, load_settings

NOT_ROTATED: Final = 1
COULD_NOT_ASK: Final = 2


class NoSuchKey(Exception):  # noqa: N818 — an answer to the operator
    """No key has or had that name."""


app = typer.Typer(
    help="List, rotate and revoke the keys that tokens are signed with.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    "list",
    epilog="Exit codes: **0** listed, **2** could not ask.\n\n"
    "Example: `broker keys list --config broker.yaml`",
)
def show(
    config: Config = None,
    output: ListOutput = ListFormat.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are retired.")] = False,
) -> None:
    """List the signing keys: their state, since when, and what happens to them next."""
    settings = load_settings(config)
    with _told(), open_existing(settings) as backing:
        asyncio.run(_list(backing, build_schedule(settings), output, everything=everything))


@app.command(
    "rotate",
    epilog="Exit codes: **0** rotated, **1** too early, or another process was faster, **2** could"
    " not ask.\n\nExample: `broker keys rotate --config broker.yaml`",
)
def rotate(
    config: Config = None,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(help="Only keys of this algorithm; may be repeated. Absent: of all in use."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Though verifiers may not have seen the standby: those with an older JWKS refuse"
            " new tokens for up to five minutes.",
        ),
    ] = False,
    output: ListOutput = ListFormat.TABLE,
) -> None:
    """Let the prepared key sign from now on, and prepare the next one.

    It is in force in every process within seconds, and recorded in the audit trail. The key that
    signed until now stays published for as long as its tokens live. Keys rotate by themselves
    every `keys.rotate_every`; this is for a day when that is too late.
    """
    settings = load_settings(config)
    used = {settings.keys.algorithm, *(target.algorithm for target in settings.targets)}
    unused = sorted(set(algorithm or ()) - used)
    if unused:
        raise ConfigurationError(
            f"--algorithm: {unused[0]} is not in use; there are keys of {', '.join(sorted(used))}"
        )
    with _told(), open_existing(settings) as backing:
        asyncio.run(_rotate(settings, backing, sorted(algorithm or used), force=force))
        asyncio.run(_list(backing, build_schedule(settings), output, everything=False))


@app.command(
    "revoke",
    epilog="Exit codes: **0** revoked, **1** there is no such key, or other processes were faster,"
    " **2** could not ask, and perhaps half of it is done: repeat it.\n\n"
    "Example: `broker keys revoke J1b…aQ --reason 'found in a log' --config broker.yaml`",
)
def revoke(
    kid: Annotated[
        str,
        typer.Argument(
            help="Which key, as `broker keys list` names it; after `--` if it begins with `-`."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the audit trail and the ledger.")],
    config: Config = None,
    output: ListOutput = ListFormat.TABLE,
) -> None:
    """Withdraw a key that may be in wrong hands: at once, and for good.

    Whatever it has signed, and whatever descends from that, is refused by exchange and
    introspection within five seconds in every process. The key leaves the JWK Set; resource servers
    refuse it once they fetch that again, within five minutes. If it was the active one, the
    prepared one signs from now on; another one is prepared.
    """
    settings = load_settings(config)
    with _told(), open_existing(settings) as backing:
        asyncio.run(_revoke(settings, backing, kid, reason))
        asyncio.run(_list(backing, build_schedule(settings), output, everything=False))


@app.command(
    "rekey",
    epilog="Exit codes: **0** every key is under the new one, **1** another process was faster, or"
    " a key opens under neither, **2** could not ask.\n\n"
    "Example: `broker keys rekey --new-kek-file kek.new --config broker.yaml`",
)
def rekey(
    new_kek_file: Annotated[
        Path, typer.Option(help="File with the new key-encryption key, 32 bytes in base64.")
    ],
    config: Config = None,
) -> None:
    """Put the signing keys under another key-encryption key, while brokers run.

    Before it, name the new file as `keys.second_kek_file` in every broker, so that each of them
    opens keys under both; after it, as `keys.kek_file`, and remove the old one. All keys move or
    none does, and the command can be repeated. The signing keys themselves stay the same.
    """
    settings = load_settings(config)
    if settings.database.url is None and settings.keys.kek_file is None:
        raise ConfigurationError(
            "keys.kek_file: is needed for this; name the file that the embedded database has now"
        )
    new_kek = load_kek(new_kek_file, setting="--new-kek-file")
    with _told(), open_existing(settings) as backing:
        if backing.kek_file is None:
            raise ConfigurationError("keys.kek_file: there is none, so no key is sealed under it")
        keks = (backing.kek_file, settings.keys.second_kek_file)
        old = [load_kek(file) for file in keks if file is not None]
        moved = asyncio.run(_rekey(settings, backing, Envelope(new_kek, *old)))
    console = build_console()
    if moved:
        console.print(f"{len(moved)} keys are under the new key-encryption key now.")
    else:
        console.print("Every key is under the new key-encryption key already.")


async def _list(
    backing: Backing, schedule: Schedule, output: ListFormat, *, everything: bool
) -> None:
    async with aclosing(Database(backing.app_url)) as database:
        store = KeyStore(database)
        records = await store.records()
        # The database's clock made the times, so it also says how long ago they are.
        now = (await store.table("")).at
    keys = [
        describe_key(record, schedule, now)
        for record in records
        if everything or record.state is not KeyState.RETIRED
    ]
    printers = {ListFormat.JSON: print_keys_json, ListFormat.JSONL: print_keys_jsonl}
    printers.get(output, print_keys)(keys)


async def _rotate(
    settings: Settings, backing: Backing, algorithms: list[str], *, force: bool
) -> None:
    async with (
        aclosing(Database(backing.app_url)) as database,
        open_trail(settings, database) as trail,
    ):
        rotator = _rotator(settings, backing, database, trail, {"forced": force})
        for algorithm in algorithms:
            if (await rotator.store.table(algorithm)).generation == 0:
                await rotator.rotate_due(algorithm)  # makes the first ones
            elif force:
                await rotator.rotate_forced(algorithm)
            else:
                await rotator.rotate(algorithm)


async def _revoke(settings: Settings, backing: Backing, kid: str, reason: str) -> None:
    async with (
        aclosing(Database(backing.app_url)) as database,
        open_trail(settings, database) as trail,
    ):
        rotator = _rotator(settings, backing, database, trail, {})
        key = await rotator.store.find(kid)
        if key is None:
            raise NoSuchKey
        # First what it signed, then the key: a process that signs with it until it has read the
        # keys again signs nothing that any of them takes.
        await revoke_rule(
            Ledger(database),
            trail,
            Scope.KID,
            issuer=settings.issuer,
            key=kid,
            reason=reason,
            by=operator(),
            now=utc_now(),
        )
        await rotator.revoke(key, reason=reason)


async def _rekey(settings: Settings, backing: Backing, envelope: Envelope) -> tuple[str, ...]:
    async with (
        aclosing(Database(backing.app_url)) as database,
        open_trail(settings, database) as trail,
    ):

        def rewrapped(row: StoredKey) -> SealedKey | None:
            if not isinstance(row.custody, SealedKey):
                return None
            return envelope.rewrap(row.custody, row.record.kid, row.record.algorithm)

        async def record(kids: Sequence[str]) -> None:
            await trail.record("keys.rekey", {"kids": list(kids)}, by=operator())

        return await KeyStore(database).rewrap(rewrapped, record)


def _rotator(
    settings: Settings,
    backing: Backing,
    database: Database,
    trail: AuditTrail,
    details: Mapping[str, Any],
) -> Rotator:
    async def record(action: str, particulars: Mapping[str, Any]) -> None:
        await trail.record(action, {**particulars, **details}, by=operator())

    providers = load_providers(settings.keys, kek_file=backing.kek_file)
    return Rotator(KeyStore(database), providers, build_schedule(settings), record)


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a line why nothing was rotated or listed."""
    try:
        yield
    except TooEarly as early:
        minutes = -(-early.wait // timedelta(minutes=1))
        _refuse(
            "too early: verifiers that cache the JWKS do not know the standby yet",
            f"wait {minutes} min, or say --force if the active key must not sign any longer",
            NOT_ROTATED,
        )
    except GenerationLost:
        _refuse(
            "another process changed the keys at this moment",
            "see broker keys list, and try again if that was not what you wanted",
            NOT_ROTATED,
        )
    except RuleInvalid as invalid:
        raise ConfigurationError(f"--reason: {invalid}") from None
    except NoSuchKey:
        _refuse(
            "there is no such key of ours, and there was none",
            "see broker keys list --all; a key of another issuer: broker revoke --kid",
            NOT_ROTATED,
        )
    except Unopenable as error:
        _refuse(
            f"{error}, so nothing was changed", "see keys.kek_file and broker doctor", NOT_ROTATED
        )
    except ProviderUnavailable as error:
        _refuse(f"{error}", "see keys.pkcs11 and broker doctor", COULD_NOT_ASK)
    except (StoreUnavailable, LedgerUnavailable) as error:
        _refuse(
            f"the database does not answer: {_cause(error)}", "see broker doctor", COULD_NOT_ASK
        )
    except (CommitRejected, TimeoutError):
        _refuse(
            "the audit trail cannot be written, so nothing was changed",
            "see broker doctor",
            COULD_NOT_ASK,
        )


def _cause(error: BaseException) -> str:
    # Of the library only the kind: its text may repeat a row.
    return type(getattr(error.__cause__, "orig", None) or error.__cause__).__name__


def _refuse(text: str, remedy: str, code: int) -> None:
    errors = build_console(stderr=True)
    errors.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    errors.print(f"  → {remedy}", markup=False)
    raise typer.Exit(code) from None
