"""``broker policy build``: a policy folder as one file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.policy.folder import FOLDER, Folder
from broker.errors import ConfigurationError
from broker.policy.bundle import build_bundle, render_archive

BUILD_HELP: Final = (
    "Exit codes: **0** built, **2** it does not compile.\n\n"
    "Example: `broker policy build policies --output bundle.tar.gz`"
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
) -> None:
    """Compile a policy folder to one file, and print its revision.

    The revision is a digest of all that is in the bundle, so the same folder gives the same file
    anywhere, and it is what audit rows name. Both engines have it: serve the bundle built for
    `opa`, not the folder, and the server knows its revision too. Tests do not travel.
    """
    bundle = build_bundle(folder)
    try:
        output.write_bytes(render_archive(bundle, engine.value))
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
    print(f"{bundle.revision}  {output}")
