"""Shifts the clock of a Python process: on its ``PYTHONPATH``, with ``SHIFT`` in seconds.

What is shifted is what those modules of the broker see that read the wall clock. A library that
does it to a whole process is not everywhere; what this one leaves out is the monotonic clock,
which a step of the time does not change, and the time in the logs.
"""

import importlib.util
import os
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from importlib.abc import MetaPathFinder

MODULES = {"broker.app.broker", "broker.db.examine"}


class Shifted(datetime):
    """The time as a clock shows it that is wrong."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz or UTC) + timedelta(seconds=float(os.environ["SHIFT"]))


class Finder(MetaPathFinder):
    """Gives these modules the wrong clock, right after they were executed."""

    def find_spec(self, name, path, target=None):
        if name not in MODULES:
            return None
        MODULES.discard(name)  # or finding it would end up here again
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module) -> None:
            execute(module)
            module.datetime = Shifted

        spec.loader.exec_module = exec_module
        return spec


if "SHIFT" in os.environ:
    sys.meta_path.insert(0, Finder())
