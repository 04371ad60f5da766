"""``broker audit check-proof``: whether a proof of a row verifies, without any database."""

from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from broker.audit.checkpoint import Checkpoint, CheckpointRejected
from broker.audit.event import render_time
from broker.audit.proof import (
    MAX_BYTES,
    NotAProof,
    Proof,
    ProofRejected,
    check_proof,
    parse_proof,
)
from broker.cli.audit.public_key import PublicKey, load_public_keys
from broker.cli.audit.source import TAMPERED, Unclear, told
from broker.cli.console import build_console, printable
from broker.cli.options import Format

CHECK_PROOF_HELP: Final = (
    "Exit codes: **0** it verifies, **1** it does not, **2** it cannot be read.\n\n"
    "Example: `broker audit check-proof row.tlog-proof --public-key audit.pub`"
)


def check_proof_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The proof.", show_default=False)],
    public_key: PublicKey,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The record, if it is not in the proof.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Accept this log alone, like `broker.example.com/audit`; absent: whichever the"
            " key is of.",
            show_default=False,
        ),
    ] = None,
    post_quantum: Annotated[
        bool,
        typer.Option(
            "--post-quantum",
            help="Demand the ML-DSA-44 signature too, where the key has that line.",
        ),
    ] = False,
    output: Annotated[
        Format, typer.Option("--format", help="How to print what is proven.")
    ] = Format.TABLE,
) -> None:
    """Verify a proof that `broker audit prove` wrote: offline, with a public key and no more.

    The key decides: a proof that verifies with a key that came with it proves nothing.
    """
    with told():
        keys = load_public_keys(public_key)
        try:
            proof = parse_proof(_read(file).decode())
        except (NotAProof, UnicodeDecodeError) as error:
            text = str(error) if isinstance(error, NotAProof) else "it is no text"
            raise Unclear(f"{file} is no proof, or not all of one: {text}") from None
        # A record is one line; what wrote it to a file may have ended it.
        shown = None if record is None else _read(record).removesuffix(b"\n")
        try:
            checkpoint = check_proof(
                proof, keys, origin=origin, record=shown, post_quantum=post_quantum
            )
        except (ProofRejected, CheckpointRejected) as error:
            _print_rejected(error, output)
            raise typer.Exit(TAMPERED) from None
    _print_proven(proof, checkpoint, proof.record or shown, output)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unclear(f"{path} cannot be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise Unclear(f"{path} is larger than any proof or record")
    return raw


def _print_rejected(error: Exception, output: Format) -> None:
    what = "the checkpoint" if isinstance(error, CheckpointRejected) else "the proof"
    if output is Format.JSON:
        print(orjson.dumps({"proven": False, "rejected": what, "why": str(error)}).decode())
        return
    text = Text.assemble(("✗ not proven", "bad"), f": {what} does not hold: {error}")
    build_console().print(text)


def _print_proven(
    proof: Proof, checkpoint: Checkpoint, record: bytes | None, output: Format
) -> None:
    batch = proof.batch
    facts: dict[str, Any] = {
        "log": checkpoint.origin,
        "size": checkpoint.size,
        "position": proof.position,
        "writer": str(batch.writer),
        "batch": batch.number,
        "committed": render_time(batch.at),
        "row": proof.seq,
        "leaf": proof.leaf.hex(),
    }
    if output is Format.JSON:
        found = None if record is None else record.decode(errors="replace")
        print(orjson.dumps({"proven": True, **facts, "record": found}).decode())
        return
    console = build_console()
    console.print(Text.assemble(("✓ proven", "good"), ": this row is in the log, unchanged"))
    console.print(
        f"  log     {checkpoint.origin}, of {checkpoint.size:,} batches when it was signed\n"
        f"  row     {proof.seq} of writer {batch.writer}\n"
        f"  batch   {batch.number} of that writer, {facts['committed']};"
        f" number {proof.position} of the log\n"
        f"  leaf    {facts['leaf']}",
        markup=False,
    )
    if record is None:
        console.print(
            Text("! Its record was not shown; give it with --record to have it compared", "warning")
        )
    else:
        console.print(Text(printable(record.decode(errors="replace"))), soft_wrap=True)
