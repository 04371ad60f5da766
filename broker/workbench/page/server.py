"""A workbench that is served to whoever opens the link to it."""

from typing import Final

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route, Router

from broker.explorer.gate import Gate
from broker.explorer.local import CannotServe, LocalServer, Troubles
from broker.explorer.pages import Troubled
from broker.explorer.question import Unclear
from broker.listener import Bounds
from broker.workbench.page import links
from broker.workbench.page.answers import MOST_BODY, Answers
from broker.workbench.page.judge import Judge
from broker.workbench.page.pages import WorkbenchPages
from broker.workbench.page.scratch import Scratch, find_prefix

__all__ = ["CannotServe", "Workbench"]

# For one person's browser; what is sent is at most a file.
_BOUNDS: Final = Bounds(
    head_time=5.0,
    body_time=10.0,
    body_framing=MOST_BODY + 4096,
    stop_time=2,
    connections=64,
    requests=32,
)


class Workbench(LocalServer):
    """Serves a policy that is changed on a copy."""

    def __init__(self, scratch: Scratch, judge: Judge, *, port: int = 0) -> None:
        super().__init__(_BOUNDS, port=port)
        self._pages = WorkbenchPages()
        self._answers = Answers(scratch, judge, self._pages, find_prefix(scratch.original))

    def build(self) -> Gate:
        """Return the workbench's pages behind their gate, which lets two forms through."""
        answers, troubles = self._answers, Troubles(self._pages)
        routes = [
            Route(links.HOME, answers.show),
            Route(links.EDIT, answers.edit, methods=["POST"]),
            Route(links.REVERT, answers.revert, methods=["POST"]),
            Route(links.PATCH, answers.patch),
        ]
        handled = ExceptionMiddleware(
            Router(routes, redirect_slashes=False, default=troubles.missing),
            handlers={Troubled: troubles.told, Unclear: troubles.unclear},
        )
        forms = frozenset({links.EDIT, links.REVERT})
        return Gate(handled, self._admission, self._pages, self.address, forms=forms)
