"""``broker audit prove``: a proof that one row stands in the log, as a file for others."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import orjson
import typer
from rich.text import Text

from broker.audit.export.output import open_output
from broker.audit.proof import Proof, render_proof
from broker.audit.proof_lookup import NotProvable, load_proof
from broker.audit.proof_source import NotSealed
from broker.cli.audit.source import (
    TAMPERED,
    Config,
    DatabaseUrl,
    Unclear,
    find_database,
    open_reader,
    record_look,
    told,
)
from broker.cli.console import build_console

PROVE_HELP: Final = (
    "Exit codes: **0** proven, **1** the trail was tampered with, so there is no proof,"
    " **2** could not: no such row, or not sealed yet.\n\n"
    "Example: `broker audit prove 019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b --with-record"
    " --out row.tlog-proof`"
)


def prove(
    id: Annotated[  # noqa: A002 — the argument's name
        str,
        typer.Argument(
            metavar="ID", help="Of the row; of an issued token its `jti`.", show_default=False
        ),
    ],
    out: Annotated[
        str, typer.Option(metavar="FILE|-", help="Where to; `-`: standard output.")
    ] = "-",
    with_record: Annotated[
        bool,
        typer.Option(
            "--with-record",
            help="Put the record into the proof, so that the one file says what it proves.",
        ),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the record to a file of its own, byte for byte as it was hashed.",
            show_default=False,
        ),
    ] = None,
    post_quantum: Annotated[
        bool,
        typer.Option(
            "--post-quantum",
            help="Keep the ML-DSA-44 signature of the checkpoint: 3 KiB more.",
        ),
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write a proof that a row was in the log when its newest checkpoint was signed.

    It is a C2SP tlog-proof of less than 2 KiB, and verifies without the database, the network or
    the broker: `broker audit check-proof`, or any verifier of RFC 6962. Without its record it shows
    nobody what is in the row; the record is as it stands in the trail, so what is encrypted there
    is encrypted in it.
    """
    with told():
        try:
            wanted = UUID(id)
        except ValueError:
            raise Unclear("ID: rows have UUIDs; `broker audit query` finds them") from None
        try:
            with find_database(config, database_url) as url:
                shown = with_record or record is not None
                proof = asyncio.run(_load(url, wanted, post_quantum=post_quantum, shown=shown))
        except NotSealed as error:
            raise Unclear(str(error)) from None
        except NotProvable as error:
            text = Text.assemble(("✗ ", "bad"), f"{error}: `broker audit verify` says more")
            build_console(stderr=True).print(text)
            raise typer.Exit(TAMPERED) from None
        _write(proof, None if out == "-" else Path(out), record, with_record=with_record)


async def _load(url: str, wanted: UUID, *, post_quantum: bool, shown: bool) -> Proof:
    async with open_reader(url) as database:
        await record_look(database, "audit.prove", {"row": str(wanted), "record": shown}, None)
        return await load_proof(database, wanted, post_quantum=post_quantum)


def _write(proof: Proof, out: Path | None, record: Path | None, *, with_record: bool) -> None:
    text = render_proof(proof if with_record else replace(proof, record=None))
    try:
        if record is not None:
            with open_output(record) as file:
                file.write(proof.record or b"")
        with open_output(out) as file:
            file.write(text.encode())
    except OSError as error:
        raise Unclear(f"--out: it cannot be written ({error.strerror})") from None
    said = Text.assemble(
        ("✓ proven", "good"),
        f": row {proof.seq} of writer {proof.batch.writer}, in {len(text.encode()):,} bytes",
    )
    if (with_record or record is not None) and _is_plain(proof.record or b"{}"):
        said.append("\n! Its record is of the first version: it names persons in plain", "warning")
    build_console(stderr=True).print(said)


def _is_plain(record: bytes) -> bool:
    try:
        return isinstance(orjson.loads(record).get("personal"), dict)
    except (ValueError, AttributeError):
        return False
