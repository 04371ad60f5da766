"""The policy that ships: beside the package in a checkout, inside of it where it is installed."""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[1]
CHECKOUT: Final = _PACKAGE.parent / "policies"
INSTALLED: Final = _PACKAGE / "_policies"


def find_stock() -> Path:
    """Return the folder of the stock policy, which nobody may change."""
    return CHECKOUT if CHECKOUT.is_dir() else INSTALLED
