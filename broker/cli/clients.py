"""``broker clients``: who is configured, and secrets for them."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.options import Config, ListFormat
from broker.clients.secret import generate_secret, hash_secret
from broker.settings import ClientSettings, load_settings

COULD_NOT_WRITE: Final = 2

app = typer.Typer(
    help="List clients, make their secrets.", no_args_is_help=True, rich_markup_mode="markdown"
)


class SecretFormat(StrEnum):
    """How a secret is printed."""

    TABLE = "table"
    JSON = "json"


@app.command(
    "new-secret",
    epilog="Exit codes: **0** made, **2** the file exists or cannot be written.\n\n"
    "Example: `broker clients new-secret --output checkout.secret`",
)
def new_secret(
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write the secret to this new file, for its owner only, and do not print it.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        SecretFormat, typer.Option("--format", help="How to print it.")
    ] = SecretFormat.TABLE,
) -> None:
    """Make a client secret of 256 random bits, and the line that the configuration has of it.

    It is shown this once and kept nowhere: the configuration has its SHA-256, from which nobody
    gets it back. A client has up to two, so that one can replace the other while both are valid.
    """
    secret = generate_secret()
    if output is not None:
        _write_secret(output, secret)
    line = hash_secret(secret)
    if form is SecretFormat.JSON:
        where = {"secret": secret} if output is None else {"file": str(output)}
        print(orjson.dumps({**where, "hash": line}).decode())
        return
    console = build_console()
    if output is None:
        console.print(Text("The secret, for the client alone; it is not shown again:", "quiet"))
        print(secret)
    else:
        console.print(Text.assemble(("✓ ", "good"), f"the secret is in {output}"))
    console.print(Text("\nIts line in broker.yaml, under `secrets` of the client:", "quiet"))
    print(line)


@app.command("list", epilog="Example: `broker clients list --config broker.yaml --format json`")
def show(
    config: Config = None,
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print them.")
    ] = ListFormat.TABLE,
) -> None:
    """List the clients that a configuration has; of their secrets only how many there are."""
    clients = [_described(client) for client in load_settings(config).clients]
    if output is ListFormat.JSON:
        print(orjson.dumps(clients, option=orjson.OPT_INDENT_2).decode())
    elif output is ListFormat.JSONL:
        for client in clients:
            print(orjson.dumps(client).decode())
    else:
        _print_table(clients)


def _write_secret(path: Path, secret: str) -> None:
    # Made by this call and by nobody before, so no link and no other user's file receives it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        _refuse(f"{path} exists", "name a new file; nothing is overwritten")
    except OSError as error:
        _refuse(f"{path} cannot be written: {error.strerror}", "name another file")
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secret}\n")


def _refuse(text: str, remedy: str) -> None:
    errors = build_console(stderr=True)
    errors.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    errors.print(f"  → {remedy}", markup=False)
    raise typer.Exit(COULD_NOT_WRITE) from None


def _described(client: ClientSettings) -> dict[str, Any]:
    """Return what is said of a client: an address of keys at most, never a key or a hash."""
    sources = ("jwks_uri", "jwks_file", "jwks")
    keys = next((name for name in sources if getattr(client, name) is not None), None)
    return {
        "id": client.id,
        "auth": client.auth.value,
        "secrets": len(client.secrets),
        "keys": keys,
        "targets": list(client.targets),
        "default_target": client.default_target,
        "known_as": [{"issuer": known.issuer, "id": known.id} for known in client.known_as],
        "grant_types": list(client.grant_types),
    }


def _print_table(clients: list[dict[str, Any]]) -> None:
    console = build_console()
    if not clients:
        console.print(Text("No client is configured.", "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("client", style="client", overflow="fold", ratio=3)
    table.add_column("authenticates by", no_wrap=True)
    table.add_column("is target", overflow="fold", ratio=2)
    table.add_column("default target", overflow="fold", ratio=2)
    table.add_column("known as", overflow="fold", ratio=3)
    for client in clients:
        table.add_row(
            Text(client["id"]),
            _credentials(client),
            Text("\n".join(client["targets"])),
            Text(client["default_target"] or ""),
            Text("\n".join(f"{known['id']} at {known['issuer']}" for known in client["known_as"])),
        )
    console.print(table)


def _credentials(client: dict[str, Any]) -> Text:
    text = Text(client["auth"])
    if not client["grant_types"]:
        text.append("\nmay use nothing", "warning")
    elif client["keys"] is not None:
        text.append(f"\n{client['keys']}", "quiet")
    elif client["secrets"] > 1:
        text.append("\n2 secrets", "quiet")
    return text
