"""Everything that is looked at in a policy's data and in what its own rules ask of it."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import orjson

from broker.policy.bundle import Bundle
from broker.policy.grants import read_grants
from broker.policy.review.calls import review_calls, review_codes
from broker.policy.review.flaw import Flaw, fault
from broker.policy.review.grants import review_grants, well_formed
from broker.policy.review.marks import Marks
from broker.policy.review.parameters import review_parameters
from broker.policy.review.probe import probe
from broker.policy.review.schema import review_data
from broker.policy.snapshot import Snapshot
from broker.settings import Settings
from broker.settings.problems import Path as MemberPath


def review_folder(
    opa: Path, snapshot: Snapshot, bundle: Bundle, settings: Settings | None, folder: Path
) -> Iterator[Flaw]:
    """Yield what is wrong with a folder that compiles to this bundle, with file and line."""
    marks = Marks(snapshot, folder)
    for place, key in marks.repeats():
        yield fault(
            place,
            key,
            "stands twice in the same mapping, and only the last one counts",
            "put the two into one",
        )
    yield from review_data(opa, snapshot, marks, folder)
    grants = well_formed(read_grants(bundle.data))
    yield from probe(opa, snapshot, bundle, grants, settings, folder)
    yield from _review(bundle, settings, marks)
    parameters = _section(bundle, "parameters")
    yield from review_calls(snapshot, parameters, settings, folder)
    yield from review_codes(snapshot, folder)


def review_bundle(bundle: Bundle, settings: Settings | None) -> Iterator[Flaw]:
    """Yield what is wrong with the data of a bundle that was built elsewhere; it has no lines."""
    yield from _review(bundle, settings, Marks({}, Path()))


def _review(bundle: Bundle, settings: Settings | None, marks: Marks) -> Iterator[Flaw]:
    yield from review_grants(read_grants(bundle.data), settings, partial(_place, marks, "grants"))
    yield from review_parameters(
        _section(bundle, "parameters"), settings, partial(_place, marks, "parameters")
    )


def _place(marks: Marks, section: str, path: MemberPath) -> str:
    return marks.find(("broker", section, *path))


def _section(bundle: Bundle, name: str) -> object:
    document = orjson.loads(bundle.data)
    section = document.get("broker") if isinstance(document, Mapping) else None
    return section.get(name, {}) if isinstance(section, Mapping) else {}
