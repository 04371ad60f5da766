"""The log of batches, against its own hashes, its signed heads, and heads that were kept elsewhere.

One walk over the leaves, by position. What is held of it is the right edge of the tree; of each
head from outside, a root.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final
from uuid import UUID

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint, verify_checkpoint
from broker.audit.note import VerifierKey
from broker.audit.tree import Frontier
from broker.audit.verify.ahead import Ahead, OneAtATime
from broker.audit.verify.outside import OutsideHead
from broker.audit.verify.report import Fault, Problem, Report

_TURN: Final = 500  # leaves, after which what comes from the database is taken in
_TREE: Final = """
SELECT t.position, t.writer, t.number, t.hashes, b.writer IS NULL AS lost
FROM audit_tree AS t LEFT JOIN audit_batch AS b USING (writer, number) ORDER BY t.position
"""
_HEADS: Final = "SELECT size, previous, root, at, note FROM audit_checkpoint ORDER BY size"


class LogCheck:
    """Reads the log once, from its first leaf to its last head."""

    def __init__(
        self,
        connection: OneAtATime,
        report: Report,
        keys: Sequence[VerifierKey],
        outside: Sequence[OutsideHead],
    ) -> None:
        """``keys`` may be empty: then nobody's signature is checked, and the report says so."""
        self._connection = connection
        self._report = report
        self._keys = keys
        self._outside = sorted(outside, key=lambda one: one.head.size)
        self._frontier = Frontier()
        self._head: Any = None
        self._previous = 0  # size of the head before
        self._broken = False  # from here on no root can be right, and says no more

    async def run(self, tell: Callable[[int], None]) -> None:
        """Check all of it; ``tell`` is called with the leaves read so far."""
        async with (
            Ahead.open(self._connection, _HEADS) as heads,
            Ahead.open(self._connection, _TREE) as leaves,
        ):
            await self._walk(heads.each(), leaves.each(), tell)
        if self._previous < self._frontier.size:
            self._add(Fault.LOG_UNSIGNED, position=self._previous)
        for one in self._outside:
            self._add(Fault.OUTSIDE_AHEAD, size=one.head.size, source=one.source)
        tell(self._frontier.size)

    async def _walk(
        self,
        heads: AsyncIterator[Any],
        leaves: AsyncIterator[Any],
        tell: Callable[[int], None],
    ) -> None:
        self._head = await anext(heads, None)
        self._check_outside()
        async for row in leaves:
            self._append(row)
            while self._head is not None and self._head["size"] <= self._frontier.size:
                self._check_head(self._head)
                self._head = await anext(heads, None)
            self._check_outside()
            if self._frontier.size % _TURN == 0:
                await asyncio.sleep(0)
                tell(self._frontier.size)
        while self._head is not None:
            self._add(Fault.HEAD_AHEAD, size=self._head["size"])
            self._note_head(self._head)
            self._head = await anext(heads, None)

    def _append(self, row: Any) -> None:  # noqa: ANN401 — a row
        position, frontier = row["position"], self._frontier
        if position != frontier.size and not self._broken:
            self._add(Fault.LOG_GAP, position=frontier.size)
            self._broken = True
        if row["lost"]:
            self._report.add(
                Problem(
                    Fault.LOG_LOST,
                    UUID(int=row["writer"].int),
                    batch=row["number"],
                    position=position,
                )
            )
        hashes = list(row["hashes"])
        if frontier.append(hashes[0]) != hashes and not self._broken:
            self._add(Fault.LOG_NODE, position=position)

    def _check_head(self, row: Any) -> None:  # noqa: ANN401 — a row
        size = row["size"]
        if row["previous"] != self._previous:
            self._add(Fault.HEAD_UNLINKED, size=size)
        if not self._broken and (size != self._frontier.size or row["root"] != self._root()):
            self._add(Fault.HEAD_ROOT, size=size)
        try:
            unverified = parse_checkpoint(row["note"])
            if (unverified.size, unverified.root) != (size, row["root"]):
                self._add(Fault.HEAD_TEXT, size=size)
            elif self._keys:
                verify_checkpoint(row["note"], self._keys)
        except CheckpointRejected:
            self._add(Fault.HEAD_UNSIGNED, size=size)
        self._note_head(row)

    def _note_head(self, row: Any) -> None:  # noqa: ANN401 — a row
        self._previous = row["size"]
        self._report.checkpoints += 1
        self._report.newest = row["at"]

    def _check_outside(self) -> None:
        """Check the heads from outside that are over as much as was read."""
        while self._outside and self._outside[0].head.size <= self._frontier.size:
            one = self._outside.pop(0)
            self._report.outside += 1
            if not self._broken and one.head.root != self._root():
                self._add(Fault.OUTSIDE_ROOT, size=one.head.size, source=one.source)

    def _root(self) -> bytes:
        return self._frontier.root()

    def _add(
        self,
        fault: Fault,
        *,
        position: int | None = None,
        size: int | None = None,
        source: str | None = None,
    ) -> None:
        self._report.add(Problem(fault, position=position, size=size, source=source))
