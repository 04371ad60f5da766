"""The ten use cases below ``examples/``, each made whole in a folder of its own."""

import shutil
from pathlib import Path
from typing import Final

from broker.policy.scaffold.complete import complete_folder

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "examples"
NAMES: Final = tuple(sorted(path.parent.name for path in FOLDER.glob("*/broker.yaml")))


def make_whole(name: str, place: Path) -> Path:
    """Copy what the project has of an example, complete its policy, and return its folder."""
    folder = place / name
    # What somebody tried in the checkout is none of this.
    tried = shutil.ignore_patterns("exchange", "library", "proxy", "schemas", ".*")
    shutil.copytree(FOLDER / name, folder, ignore=tried)
    complete_folder(folder / "policies")
    return folder
