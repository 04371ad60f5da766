"""The rules over weeks of traffic as a company has it: exactly these alerts, and no others."""

from broker.audit.detect.engine import Engine
from broker.settings.alerts import Alerts
from tests.traffic import Traffic, attacks_on

CLIENTS = 6
DAYS = 24
VOLUME = 0.12


# Three releases that failed: each was refused some fifty times in an hour.
FALSE = {
    ("probing", "client-02", "2026-06-08"),
    ("probing", "client-04", "2026-06-10"),
    ("probing", "client-05", "2026-06-12"),
}
# Whoever probes so often asks more than ever.
ALSO = {
    ("client_rate", "client-04", "2026-06-21"),
    ("client_rate", "client-05", "2026-06-22"),
}


def look(*, attacked):
    traffic = Traffic(7, clients=CLIENTS, days=DAYS, volume=VOLUME)
    attacks = attacks_on(traffic) if attacked else []
    alerts = [found.alert for found in Engine(Alerts()).feed([*traffic.rows(attacks)])]
    return attacks, [(one.rule, one.client, one.at.date().isoformat()) for one in alerts]


def test_honest_traffic_makes_few_alerts():
    """Each of them is one too many, and is here by name: a change of the rules shows."""
    _, alerts = look(attacked=False)

    assert sorted(FALSE) == sorted(alerts)


def test_attacks_are_told_and_quiet_ones_are_not():
    """What a rule is made for is told on its day; what is below its numbers is not."""
    attacks, alerts = look(attacked=True)
    loud = {(one.rule, one.client, one.at.date().isoformat()) for one in attacks if not one.quiet}

    assert 14 == len(loud)
    assert sorted(FALSE | ALSO | loud) == sorted(alerts)
