"""Each rule over rows that are made for it: what it tells, and what it keeps quiet about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from broker.audit.detect.alert import Alert, build_alert
from broker.audit.detect.engine import LOOKBACK, Engine
from broker.settings.alerts import Alerts
from tests.traffic import ISSUER, START, build_row

DAY = timedelta(days=1)
NOON = START + 20 * DAY + timedelta(hours=12)
_numbers = iter(range(1, 10**9))


def seen_row(at, client="svc", **what):
    return build_row(client, at, id=UUID(int=next(_numbers)), **what)


def rows(at, count, client="svc", **what):
    """So many within an hour."""
    return [seen_row(at + timedelta(seconds=30 * n), client, **what) for n in range(count)]


def usual(client="svc", subject="hmac:alice", days=20, daily=10, **what):
    """The same at noon of every day, up to the day that is looked at."""
    begin = NOON - days * DAY
    return [
        one
        for day in range(days)
        for one in rows(begin + day * DAY, daily, client, subject=subject, **what)
    ]


def look(made, **settings):
    return [
        found.alert
        for found in Engine(Alerts.model_validate(settings)).feed(made)
        if found.suppressed is None
    ]


def told(made, **settings):
    return [(alert.rule, alert.client, alert.observed) for alert in look(made, **settings)]


def test_a_client_far_above_its_hour_is_told_once():
    """With what was counted, what is usual then, and the number from which on it is told."""
    (alert,) = look([*usual(), *rows(NOON, 115)])

    assert ("client_rate", "svc", "medium") == (alert.rule, alert.client, alert.severity)
    assert (101, 10, 100) == (alert.observed, alert.expected, alert.threshold)
    assert NOON == alert.since
    assert 8 == len(alert.evidence)


def test_what_a_client_does_each_day_is_usual():
    """However much it is; so is twice as much, and as much an hour later."""
    busy = usual(daily=100)

    assert [] == told([*busy, *rows(NOON, 118), *rows(NOON + timedelta(hours=1), 100)])


def test_a_client_that_is_new_has_nothing_usual():
    """For a week nobody knows what is much."""
    assert [] == told([*usual(days=6), *rows(NOON, 119)])
    assert 1 == len(told([*usual(days=8), *rows(NOON, 119)]))


def test_one_bad_day_does_not_hide_the_next():
    """What is usual is the second most of the days."""
    made = [*usual(), *rows(NOON, 110), *rows(NOON + DAY, 110)]

    assert 2 == len(told(made))


def test_known_subjects_at_a_client_that_never_had_them():
    """More of them than on any day of two weeks; the rows are named."""
    people = [f"hmac:{n}" for n in range(5)]
    others = [one for who in people for one in usual("portal", who, daily=1)]
    made = [*usual(), *others]
    new = [seen_row(NOON, subject=who) for who in people]
    (alert,) = look([*made, *new])

    assert ("new_pair", "svc", 3, 2) == (
        *(alert.rule, alert.client),
        *(alert.observed, alert.threshold),
    )
    assert tuple(str(one["id"]) for one in new[:3]) == alert.evidence


@pytest.mark.parametrize(
    ("made", "subjects"),
    [
        pytest.param(usual(), [f"hmac:new-{n}" for n in range(9)], id="unknown-subjects"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_subjects_that_nobody_exchanged_are_no_pair(made, subjects):
    """Users who are new are new everywhere."""
    assert [] == told([*made, *(seen_row(NOON, subject=who) for who in subjects)])


def test_a_client_that_meets_new_ones_daily_goes_on():
    """What is usual for it is not told."""
    people = [f"hmac:{n}" for n in range(160)]
    made = [one for who in people for one in usual("portal", who, daily=1)]
    for day in range(20):
        met = people[8 * day : 8 * day + 8] if day > 15 else []
        made += [seen_row(NOON + (day - 20) * DAY, subject=who) for who in ["hmac:own", *met]]
    made.sort(key=lambda one: one["at"])
    first = told(made)

    assert [("new_pair", "svc", 3)] == first  # on the day that this began


def test_refusals_that_climb_are_told():
    """Also of a client that is new, and of those who did not authenticate."""
    refused = {"reason": "policy.scope_not_held"}

    assert [("probing", "svc", 31)] == told(rows(NOON, 40, **refused))
    assert [("probing", None, 31)] == told(rows(NOON, 40, None, reason="client.unknown"))
    assert [] == told([*usual(daily=25, **refused), *rows(NOON, 60, **refused)])


def test_our_own_failures_are_nobodys_probing():
    """A database that is down refuses everybody."""
    assert [] == told(rows(NOON, 90, reason="replay.unavailable"))


def test_counted_refusals_count():
    """A row that stands for many stands for many, and for those who did not authenticate."""
    counted = seen_row(NOON, None) | {"kind": "refusals", "outcome": "refused", "reason": None}
    counted["record"] = '{"counts":{"client.unknown":500,"client.assertion_replayed":3,"x":-1}}'

    assert {("probing", None, 503), ("replay", None, 3)} == set(told([counted]))


@pytest.mark.parametrize(
    ("reason", "rule", "count"),
    [
        pytest.param("subject_token.replayed", "replay", 3, id="subject-token"),
        pytest.param("actor_token.replayed", "replay", 3, id="actor-token"),
        pytest.param("client.assertion_replayed", "replay", 3, id="assertion"),
        pytest.param("subject_token.revoked", "use_after_revocation", 5, id="subject"),
        pytest.param("actor_token.revoked", "use_after_revocation", 5, id="actor"),
        pytest.param("client.revoked", "use_after_revocation", 5, id="client"),
    ],
)
def test_again_and_again_is_told_once_a_day(reason, rule, count):
    """So many within an hour, and no fewer, however they fall on hours."""
    late = NOON + timedelta(minutes=59)

    assert [] == told(rows(late, count - 1, reason=reason))
    assert [(rule, "svc", count)] == told(rows(late, count + 9, reason=reason))
    apart = [seen_row(NOON + n * timedelta(minutes=31), reason=reason) for n in range(9)]
    assert [] == told(apart)


def test_use_after_revocation_is_of_one_subject():
    """Five users who are cut off and try once are no attack."""
    tries = [seen_row(NOON, subject=f"hmac:{n}", reason="subject_token.revoked") for n in range(9)]

    assert [] == told(tries)


def test_a_chain_deeper_than_any_is_told():
    """And is usual from then on."""
    made = [
        seen_row(NOON, depth=5),
        seen_row(NOON + DAY, depth=5),
        seen_row(NOON + 2 * DAY, depth=6),
    ]

    assert [("deep_chain", "svc", 5), ("deep_chain", "svc", 6)] == told(made)
    assert [] == told(usual(depth=4))


def test_what_the_policy_wants_to_be_told_is_told():
    """One token is enough; of a client and a subject once a day."""
    obliged = {"obligations": ["alert"]}
    made = [
        seen_row(NOON, **obliged),
        seen_row(NOON, **obliged),
        seen_row(NOON, subject="hmac:bob", **obliged),
        seen_row(NOON + DAY, **obliged),
    ]

    assert [("obliged", "svc", 1)] * 3 == told(made)
    assert [str(made[n]["id"]) for n in (0, 2, 3)] == [one.evidence[0] for one in look(made)]


def test_what_was_refused_or_obliges_to_nothing_known_is_not_told():
    """Only an issued token obliges, and only to what there is."""
    refused = seen_row(NOON, reason="policy.denied", obligations=["alert"])
    broken = seen_row(NOON) | {"record": '{"obligations":{"alert":true}}'}

    assert [] == told([refused, broken, seen_row(NOON, obligations=["call"]), seen_row(NOON)])


def test_a_client_that_asks_for_much_that_is_new():
    """The alert has the names; a few in a day are a release."""
    asked = [f"s{n}" for n in range(6)]
    (alert,) = look([*usual(), seen_row(NOON, asked=asked[:2]), seen_row(NOON, audiences=asked)])

    assert ("widening", 8, 5) == (alert.rule, alert.observed, alert.threshold)
    assert ["scope s0", "scope s1", "target s0"] == alert.more["asked"][:3]
    assert [] == told([*usual(), seen_row(NOON, asked=asked[:4])])
    assert [] == told([*usual(days=3), seen_row(NOON, asked=asked)])


def test_names_that_have_no_end_are_remembered_by_their_beginning():
    """Two of them are two all the same; and none makes an alert as long as itself."""
    asked = [f"{'s' * 9000}{n}" for n in range(6)]
    (alert,) = look([*usual(), seen_row(NOON, asked=asked)])

    assert 6 == alert.observed == len({*alert.more["asked"]})
    assert {146} == {len(name) for name in alert.more["asked"]}


@pytest.mark.parametrize("name", ["client_rate", "probing"])
def test_a_rule_can_be_turned_off(name):
    """The others go on."""
    made = [*usual(), *rows(NOON, 115, reason="policy.scope_not_held")]
    rules = {name: {"enabled": False}}

    assert {"client_rate", "probing"} - {name} == {one[0] for one in told(made, rules=rules)}


def test_what_is_suppressed_is_found_and_says_why():
    """For a client or for an issuer, and until then."""
    made = rows(NOON, 40, reason="policy.scope_not_held")
    until = (NOON + DAY).isoformat()
    for about in ({"client": "svc"}, {"issuer": ISSUER}):
        entry = {"rule": "probing", **about, "until": until, "why": "a load test"}
        (found,) = Engine(Alerts.model_validate({"suppress": [entry]})).feed(made)
        assert "a load test" == found.suppressed
    for other in (
        {"client": "another"},
        {"client": "svc", "rule": "replay"},
        {"client": "svc", "until": NOON.isoformat()},
    ):
        entry = {"rule": "probing", "until": until, "why": "a load test"} | other
        (found,) = Engine(Alerts.model_validate({"suppress": [entry]})).feed(made)
        assert found.suppressed is None


def test_a_revoked_issuer_does_not_flood_the_trail():
    """All its subjects are refused at once: some are told of a client and day, the rest counted."""
    tries = {"reason": "subject_token.revoked"}
    made = [one for n in range(40) for one in rows(NOON, 5, subject=f"hmac:{n}", **tries)]
    next_day = rows(NOON + DAY, 5, subject="hmac:0", **tries)
    found = Engine(Alerts.model_validate({"rules": {"probing": {"enabled": False}}})).feed(
        [*made, *rows(NOON, 5, "another", **tries), *next_day]
    )
    why = "there are 16 of this rule and client on this day"

    assert [None] * 16 + [why] * 24 + [None, None] == [one.suppressed for one in found]


def test_an_alert_has_one_id_a_rule_client_subject_and_day():
    """So that whoever finds it again finds that it is on record."""
    alert = Alert(
        *("probing", "svc", None, None, NOON, NOON, 9, 1.0, 8.0, "refusals"), evidence=("x",)
    )

    assert alert.id == replace(alert, observed=10, at=NOON + timedelta(hours=5)).id
    others = [{"rule": "replay"}, {"client": None}, {"subject": "hmac:a"}, {"at": NOON + DAY}]
    assert 5 == len({alert.id} | {replace(alert, **one).id for one in others})
    assert replace(alert, client="a", issuer="b").id != replace(alert, client="ab").id


def test_an_alert_is_a_row_that_explains_itself():
    """The whole record: which rule, which numbers, which rows."""
    alert = Alert(
        *("replay", "svc", ISSUER, None, NOON, NOON - DAY, 3, 0, 3, "used again"), evidence=("x",)
    )
    event = build_alert(alert, at=datetime(2026, 7, 1, tzinfo=UTC))

    assert (
        '{"action":"replay","at":"2026-07-01T00:00:00.000000Z","client":{"id":"svc"},'
        '"details":{"evidence":["x"],"expected":0,"issuer":"https://idp.example.com",'
        '"meaning":"used again","observed":3,"since":"2026-06-20T12:00:00.000000Z",'
        f'"threshold":3,"until":"2026-06-21T12:00:00.000000Z"}},"id":"{alert.id}",'
        '"kind":"alert","outcome":"done","rule":"replay","severity":"high","version":1}'
    ) == event.record.decode()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"depth":"9","asked":[],"counts":7}', id="other-kinds"),
        pytest.param('{"depth":1e99,"asked":{"scope":{},"audiences":[1,null]}}', id="absurd"),
        pytest.param("9" * 5000, id="a-long-number"),
    ],
)
def test_a_row_that_is_none_of_ours_stops_nothing(record):
    """Whoever can write into the database does not silence who watches."""
    odd = [
        seen_row(NOON) | {"record": record, "kind": kind} for kind in ("exchange", "refusals", "x")
    ]

    assert [("probing", "svc", 31)] == told([*odd, *rows(NOON, 40, reason="policy.undefined")])


def test_the_last_days_say_what_all_days_say():
    """A restart changes no alert: whoever reads ``LOOKBACK`` knows what the others know."""
    made = [*usual(days=40), *rows(NOON, 115), *rows(NOON + DAY, 60, reason="policy.undefined")]
    recent = [one for one in made if one["at"] > NOON - LOOKBACK]

    assert 2 == len(look(made))
    assert look(made) == look(recent)
