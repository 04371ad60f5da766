"""The policy folder, as every command here takes it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from broker.settings import load_settings

FOLDER: Final = Path("policies")
Folder = Annotated[Path, typer.Argument(help="The policy folder: a bundle root.")]


def find_policy(named: Path | None, config: Path | None) -> Path:
    """Return the policy that is named, or else of the configuration, or else ``policies``."""
    if named is not None:
        return named
    return (
        FOLDER if config is None else load_settings(config, only={"issuer", "policy"}).policy.path
    )
