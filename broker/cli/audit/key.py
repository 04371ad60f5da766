"""``broker audit public-key``: what others verify checkpoints and proofs with."""

from typing import Annotated, Final

import typer

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.head import is_name
from broker.cli.audit.source import Unclear, told
from broker.cli.options import Config
from broker.errors import ConfigurationError
from broker.settings import load_settings
from broker.settings.key_files import find_key_files

PUBLIC_KEY_HELP: Final = (
    "Give these lines to whoever verifies, by a way that the database's owner is not on.\n\n"
    "Example: `broker audit public-key --config broker.yaml > audit.pub`"
)


def public_key(
    origin: Annotated[
        str | None,
        typer.Option(
            help="The name of the log; absent: after `issuer`. A log keeps the name that it began"
            " with, whatever becomes of the issuer: it is the first line of a checkpoint.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Print the public keys of the log, one a line: Ed25519, then ML-DSA-44.

    Both are verifier keys as C2SP signed-note has them. Only the key file is read, no database.
    """
    with told():
        settings = load_settings(config)
        path = find_key_files(settings).checkpoints
        if path is None:
            raise ConfigurationError("audit.checkpoints.key_file: is needed here")
        if origin is not None and not is_name(origin):
            raise Unclear("--origin: write the first line of a checkpoint")
        for key in load_checkpoint_keys(path, origin or build_origin(settings.issuer)).public:
            typer.echo(str(key))
