"""A folder that has what is its own, completed with what it does not: the stock policy's rest.

Nothing that is there is changed. What says whom a policy is for comes from the folder alone: its
grants, and its scenarios where it has any.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationError
from broker.policy.stock import find_stock

_GRANTS: Final = Path("broker/grants")
_SCENARIOS: Final = Path("scenarios")
_EXAMPLE: Final = Path("broker/rules/example")  # shows where rules of one's own go


def complete_folder(folder: Path) -> list[Path]:
    """Add what is missing of the stock policy, and return which files those are.

    Raises ``ConfigurationError`` if the folder has no grants, or cannot be written.
    """
    if not (folder / _GRANTS).is_dir():
        raise ConfigurationError(
            f"{folder}: has no {_GRANTS} to complete; make a new folder without --complete"
        )
    written = []
    try:
        for name in _missing(folder):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Exclusively: what somebody puts there meanwhile stays.
            with path.open("xb") as file, (find_stock() / name).open("rb") as stock:
                shutil.copyfileobj(stock, file)
            written.append(name)
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be written ({error.strerror})") from error
    return written


def _missing(folder: Path) -> Iterator[Path]:
    stock = find_stock()
    apart = {_GRANTS, _EXAMPLE} | ({_SCENARIOS} if (folder / _SCENARIOS).is_dir() else set())
    for path in sorted(stock.rglob("*")):
        name = path.relative_to(stock)
        hidden = any(part.startswith(".") for part in name.parts) and name.name != ".manifest"
        if hidden or not path.is_file() or not apart.isdisjoint(name.parents):
            continue
        if not (folder / name).exists() and not (folder / name).is_symlink():
            yield name
