"""What rules remember, as plain values and back: who goes on with it is told what others are."""

import orjson
import pytest

from broker.audit.detect.engine import Engine
from broker.settings.alerts import Alerts
from tests.traffic import Traffic, attacks_on

_OF_TOLD = {"told", "today"}  # what was told depends on what is looked for


def build():
    return Engine(Alerts())


def renewed(engine):
    """One that is new and remembers the same, by way of JSON."""
    made = build()
    for name, stored in engine.dump():
        made.restore(name, [orjson.loads(orjson.dumps(stored))])
    return made


def test_a_restart_changes_no_alert():
    """Not its numbers, nor the rows that it names, whenever it comes."""
    traffic = Traffic(3, clients=6, days=23, volume=0.05)
    rows = [*traffic.rows(attacks_on(traffic))]
    told = [found.alert for found in build().feed(rows)]
    engine, again = build(), []
    for start in range(0, len(rows), size := len(rows) // 40):
        again += [found.alert for found in engine.feed(rows[start : start + size])]
        engine = renewed(engine)

    assert 14 <= len(told)
    assert told == again


def test_what_is_remembered_is_the_same_whatever_the_rules_are():
    """So a change of numbers forgets nothing, and a rule that is turned on knows what is usual."""
    rows = [*Traffic(3, clients=3, days=9, volume=0.02).rows()]
    off = {name: {"enabled": False} for name in Alerts().rules.model_dump()}
    engines = [Engine(Alerts.model_validate({"rules": rules})) for rules in ({}, off)]

    assert [True, False] == [bool(engine.feed(rows)) for engine in engines]
    first, second = ([one for one in engine.dump() if one[0] not in _OF_TOLD] for engine in engines)
    assert first == second


@pytest.mark.parametrize(
    ("part", "stored"),
    [
        pytest.param("unknown", [], id="part"),
        pytest.param("told", [1], id="id"),
        pytest.param("probing", 1, id="no-list"),
        pytest.param("probing", [["svc"]], id="short"),
        pytest.param("probing", [[1, [[0] * 361, -1, []]]], id="key"),
        pytest.param("probing", [["svc", [[0] * 360, -1, []]]], id="other-hours"),
        pytest.param("probing", [["svc", [[0, *[-1] * 360], -1, []]]], id="below-zero"),
        pytest.param("probing", [["svc", [[0] * 361, "1", []]]], id="day"),
        pytest.param("probing", [["svc", [[0] * 361, -1, [None]]]], id="row"),
        pytest.param("replay", [[["svc"], [[["2026-06-01T00:00:00", 1]], [], -1]]], id="no-zone"),
        pytest.param("replay", [[["svc"], [[["then", 1]], [], -1]]], id="no-time"),
        pytest.param("deep_chain", [["svc", [[0], [0]]]], id="other-days"),
        pytest.param("new_pair.subjects", [[["i", "s"], [0, ["svc", 1.5]]]], id="days"),
        pytest.param("widening", [["svc", [[-1] + [0] * 15] * 2 + [-1, [[1, 1]], [], []]]], id="n"),
    ],
)
def test_what_is_none_of_ours_is_refused(part, stored):
    """Whoever reads it reads the trail anew."""
    with pytest.raises((TypeError, ValueError)):
        build().restore(part, stored)
