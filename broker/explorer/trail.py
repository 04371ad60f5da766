"""Whether the trail is unchanged: its newest checkpoint, what waits for one, and a look now."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint, verify_checkpoint
from broker.audit.note import NoteRejected, parse_note
from broker.audit.publish.reached import find_reached
from broker.audit.query import CannotRead
from broker.audit.seal_state import MOST, SealState, load_seal_state
from broker.audit.verify import OutsideHead, Question, Report, load_outside, verify_trail
from broker.explorer.pages import Pages, Trouble, Troubled
from broker.explorer.question import ZONE, parse_fields, parse_question
from broker.explorer.question import Question as Asked
from broker.explorer.sources import Sources

_WINDOW: Final = ("since", "until", ZONE)
_EVERY: Final = 0.25  # seconds between two words on how far it is
_STALE: Final = timedelta(minutes=5)  # a checkpoint that is older than this is worth a word
_BUSY: Final = Trouble(
    409, "It is being verified already", "One look at a time.", "Wait for the other one to end."
)


class Trail:
    """Answers how the trail is, and verifies it."""

    def __init__(self, sources: Sources, pages: Pages) -> None:
        self._sources = sources
        self._pages = pages
        self._verifying = asyncio.Lock()

    async def show(self, _request: Request) -> Response:
        """Answer the state of the trail as the database has it."""
        sources = self._sources
        await sources.record("audit.explore", {"page": "trail"})
        state, reached = await asyncio.gather(
            load_seal_state(sources.reading, accesses=False), find_reached(sources.reading)
        )
        age = None if state.sealed_at is None else state.now - state.sealed_at
        return self._pages.page(
            "trail.html",
            state=state,
            age=age,
            # Where nothing waits an old checkpoint is over everything there is.
            stale=state.batches > 0 and (age is None or age > _STALE),
            most=MOST,
            signed=self._judge(state),
            signers=_signers(state),
            root=_root(state),
            reached=reached,
            outside=sources.checkpoints is not None,
        )

    async def verify(self, request: Request) -> Response:
        """Answer a page that grows while the trail is verified, and ends in the report."""
        sources = self._sources
        given = parse_fields(request.scope["query_string"], _WINDOW)
        asked = parse_question(given, sources.zone, sources.now())
        if self._verifying.locked():
            raise Troubled(_BUSY)
        await sources.record("audit.verify", asked.given)
        return StreamingResponse(self._verified(asked), media_type="text/html; charset=utf-8")

    async def _verified(self, asked: Asked) -> AsyncIterator[str]:
        async with self._verifying:
            head, _, foot = self._pages.render(
                "verify.html", zone=asked.zone, given=asked.given
            ).partition("<!-- report -->")
            yield head
            progress: list[tuple[int, int]] = []
            task = asyncio.create_task(self._verify(asked, progress))
            try:
                while not task.done():
                    await asyncio.wait({task}, timeout=_EVERY)
                    if progress and not task.done():
                        yield self._pages.render("progress.html", done=progress[-1])
                yield self._told(task, asked)
            finally:
                # Nobody reads any more: nobody needs to know.
                task.cancel()
                await asyncio.wait({task})
            yield foot

    async def _verify(self, asked: Asked, progress: list[tuple[int, int]]) -> Report:
        question = Question(
            self._sources.keys,
            await asyncio.to_thread(self._outside),
            asked.wanted.since,
            asked.wanted.until,
        )

        def tell(done: int, total: int) -> None:
            progress[:] = [(done, total)]

        return await verify_trail(self._sources.streaming, question, progress=tell)

    def _outside(self) -> list[OutsideHead]:
        path = self._sources.checkpoints
        return [] if path is None else load_outside(path, self._sources.keys)

    def _told(self, task: asyncio.Task[Report], asked: Asked) -> str:
        report, said = None, None
        try:
            report = task.result()
        except CannotRead as error:
            said = str(error)
        return self._pages.render("report.html", report=report, said=said, zone=asked.zone)

    def _judge(self, state: SealState) -> bool | None:
        """Return whether the key of the log has signed the newest; None: there is none to ask."""
        if state.note is None or not self._sources.keys:
            return None
        try:
            verify_checkpoint(state.note, self._sources.keys)
        except CheckpointRejected:
            return False
        return True


def _signers(state: SealState) -> list[str]:
    try:
        return [one.name for one in parse_note(state.note).signatures] if state.note else []
    except NoteRejected:
        return []


def _root(state: SealState) -> str | None:
    try:
        return parse_checkpoint(state.note).root.hex() if state.note else None
    except CheckpointRejected:
        return None
