"""Where the boxes of a tree stand: columns from left to right, no two of them over each other.

After Reingold and Tilford: each subtree is laid out by itself and pushed below the one before it
just as far as their outlines demand; a parent stands in the middle of its children. Nothing here
recurses, since how deep a tree is, is up to whoever wrote the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
Outline = list[tuple[float, float]]  # of a subtree, column by column: its top and its bottom


@dataclass(slots=True)
class Box(Generic[T]):
    """One place of the tree. ``column`` and ``top`` are set by ``lay_out``."""

    content: T
    height: float
    boxes: list["Box[T]"] = field(default_factory=list)
    column: int = 0
    top: float = 0.0

    @property
    def middle(self) -> float:
        """Where lines from and to it end."""
        return self.top + self.height / 2


def walk(roots: Sequence[Box[T]]) -> Iterator[Box[T]]:
    """Yield every box, parents before children, in the order in which one reads."""
    waiting = list(reversed(roots))
    while waiting:
        box = waiting.pop()
        yield box
        waiting.extend(reversed(box.boxes))


def lay_out(roots: Sequence[Box[T]], *, gap: float) -> float:
    """Give each box its place, with ``gap`` between neighbours; return the height of it all."""
    boxes = list(walk(roots))
    outlines: dict[int, Outline] = {}
    for box in reversed(boxes):
        outline, offset = _stack(box.boxes, outlines, gap), 0.0
        if box.boxes:
            offset = (box.boxes[0].middle + box.boxes[-1].middle - box.height) / 2
        box.top = 0.0
        for child in box.boxes:
            child.top -= offset
        outlines[id(box)] = [
            (0.0, box.height),
            *((top - offset, bottom - offset) for top, bottom in outline),
        ]
    whole = _stack(roots, outlines, gap)
    highest = min((top for top, _ in whole), default=0.0)
    for root in roots:
        root.top -= highest
    for box in boxes:  # parents first: what was relative to them becomes absolute
        for child in box.boxes:
            child.top += box.top
            child.column = box.column + 1
    return max((bottom for _, bottom in whole), default=0.0) - highest


def _stack(boxes: Sequence[Box[T]], outlines: dict[int, Outline], gap: float) -> Outline:
    """Put subtrees below one another, each as high as it can be; return their common outline."""
    common: Outline = []
    for box in boxes:
        outline = outlines.pop(id(box))
        pairs = zip(common, outline, strict=False)
        box.top = max((above[1] + gap - below[0] for above, below in pairs), default=0.0)
        moved = [(top + box.top, bottom + box.top) for top, bottom in outline]
        shared = len(common)
        common = [(above[0], below[1]) for above, below in zip(common, moved, strict=False)] + (
            common[len(moved) :] or moved[shared:]
        )
    return common
