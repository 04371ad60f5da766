"""The policy folder, as every command here takes it."""

from pathlib import Path
from typing import Annotated, Final

import typer

FOLDER: Final = Path("policies")
Folder = Annotated[Path, typer.Argument(help="The policy folder: a bundle root.")]
