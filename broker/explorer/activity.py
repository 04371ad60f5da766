"""When what fits happened: drawn at once where counting is quick, and on a page of its own else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from broker.audit.counts import count_rows, find_first
from broker.audit.query import CannotRead
from broker.explorer import links
from broker.explorer.pages import Pages
from broker.explorer.question import FILTERS, ZONE, Question, parse_fields, parse_question
from broker.explorer.sources import Sources
from broker.explorer.stretch import build_buckets, choose_origin, choose_step
from broker.explorer.timeline import Bucket, draw_timeline

AT_ONCE: Final = timedelta(milliseconds=200)  # of a page that has more than the timeline
_ALONE: Final = timedelta(seconds=4.5)


@dataclass(frozen=True, slots=True)
class Activity:
    """A timeline, and how many rows it stands for."""

    picture: Markup
    total: int
    exact: bool
    refused: int


class Activities:
    """Draws the timeline of a search."""

    def __init__(self, sources: Sources, pages: Pages) -> None:
        self._sources = sources
        self._pages = pages

    async def __call__(self, request: Request) -> Response:
        """Answer the page with nothing but a timeline, which may take its time."""
        sources = self._sources
        given = parse_fields(request.scope["query_string"], (*FILTERS, ZONE))
        question = parse_question(given, sources.zone, sources.now())
        await sources.record("audit.explore", question.given)
        activity = await self.draw(question, _ALONE)
        return self._pages.page(
            "timeline.html", zone=question.zone, given=question.given, activity=activity
        )

    async def draw_at_once(self, question: Question) -> Activity | None:
        """Return the timeline; None where it is not quickly done. Then there is a link to it."""
        try:
            return await self.draw(question, AT_ONCE)
        except CannotRead:
            # If nothing can be read the rows say so.
            return None

    async def draw(self, question: Question, patience: timedelta) -> Activity:
        """Return the timeline. Raises ``CannotRead``, also where it takes longer."""
        sources, wanted = self._sources, question.wanted
        until = wanted.until or sources.now()
        since = wanted.since or await find_first(sources.reading) or until - timedelta(hours=1)
        # A filter may begin after now; its timeline is short, and empty.
        since = min(since, until - timedelta(seconds=1))
        step = choose_step(since, until)
        origin = choose_origin(since, step, question.zone)
        counts = await count_rows(
            *(sources.reading, wanted),
            step=step,
            origin=origin,
            patience=patience,
            pseudonym=sources.pseudonym,
        )
        buckets = build_buckets(counts, origin, until, step)
        return Activity(
            draw_timeline(buckets, href=_linker(question), zone=question.zone),
            sum(one.rows for one in counts.counts),
            counts.share == 1.0,
            sum(one.rows for one in counts.counts if one.outcome == "refused"),
        )


def _linker(question: Question) -> Callable[[Bucket], str]:
    """Return what leads from a bar to its stretch, as far as that is in the window asked for."""
    wanted, zone = question.wanted, question.zone

    def link(bucket: Bucket) -> str:
        since = bucket.start if wanted.since is None else max(bucket.start, wanted.since)
        until = bucket.end if wanted.until is None else min(bucket.end, wanted.until)
        window = {
            "since": since.astimezone(zone).isoformat(),
            "until": until.astimezone(zone).isoformat(),
        }
        return links.search_link({**question.given, **window})

    return link
