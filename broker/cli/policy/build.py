"""``broker policy build``: a policy folder as one file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.policy.folder import FOLDER, Folder
from broker.errors import ConfigurationError
from broker.jose.errors import Malformed
from broker.jose.pem import load_private_pem
from broker.policy.bundle import build_bundle, render_archive
from broker.policy.signature import Signer

BUILD_HELP: Final = (
    "Exit codes: **0** built, **2** it does not compile.\n\n"
    "Example: `broker policy build policies --output bundle.tar.gz --signing-key key.pem`"
)


class Engine(StrEnum):
    """Who is to decide by the bundle."""

    WASM = "wasm"
    OPA = "opa"


def build(
    folder: Folder = FOLDER,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("bundle.tar.gz"),
    engine: Annotated[
        Engine,
        typer.Option(help="`wasm`: for the broker itself; `opa`: for an OPA server."),
    ] = Engine.WASM,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            help="Private key in PEM to sign with: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA).",
            show_default=False,
        ),
    ] = None,
    key_id: Annotated[
        str, typer.Option("--verification-key-id", help="What the signature calls the key.")
    ] = "default",
    scope: Annotated[str, typer.Option(help="The `scope` of the signature.")] = "",
) -> None:
    """Compile a policy folder to one file, and print its revision.

    The revision is a digest of all that is in the bundle, so the same folder gives the same file
    anywhere, and it is what audit rows name. Both engines have it: serve the bundle built for
    `opa`, not the folder, and the server knows its revision too. Tests do not travel.

    A signature is OPA's own, so `opa` and an OPA server verify it as well.
    """
    signer = None if signing_key is None else _load_signer(signing_key, key_id, scope)
    bundle = build_bundle(folder)
    try:
        output.write_bytes(render_archive(bundle, engine.value, signer))
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
    print(f"{bundle.revision}  {output}")


def _load_signer(path: Path, key_id: str, scope: str) -> Signer:
    try:
        return Signer(load_private_pem(path.read_bytes()), key_id, scope)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except Malformed as error:
        raise ConfigurationError(f"{path}: {error}") from error
