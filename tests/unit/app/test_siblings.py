"""The metrics of several processes in one answer."""

from prometheus_client.parser import text_string_to_metric_families

from broker.app.siblings import join_metrics

FIRST = b"""# HELP broker_outcomes_total By outcome.
# TYPE broker_outcomes_total counter
broker_outcomes_total{reason="issued"} 3.0
broker_outcomes_total{reason="a \\"quoted\\" {one}"} 1.0
# HELP process_threads Threads.
# TYPE process_threads gauge
process_threads 4.0
"""
SECOND = b"""# HELP broker_outcomes_total By outcome.
# TYPE broker_outcomes_total counter
broker_outcomes_total{reason="issued"} 5.0
# HELP broker_age_seconds Only here.
# TYPE broker_age_seconds gauge
broker_age_seconds 1.5e-05
"""


def test_every_sample_says_which_process_it_is_of():
    """And nothing is added up: whoever asks can do that, and cannot undo it."""
    joined = join_metrics({2: SECOND, 1: FIRST}).decode()

    assert (
        """# HELP broker_outcomes_total By outcome.
# TYPE broker_outcomes_total counter
broker_outcomes_total{worker="1",reason="issued"} 3.0
broker_outcomes_total{worker="1",reason="a \\"quoted\\" {one}"} 1.0
broker_outcomes_total{worker="2",reason="issued"} 5.0
# HELP process_threads Threads.
# TYPE process_threads gauge
process_threads{worker="1"} 4.0
# HELP broker_age_seconds Only here.
# TYPE broker_age_seconds gauge
broker_age_seconds{worker="2"} 1.5e-05
# HELP broker_workers Processes that answered this scrape.
# TYPE broker_workers gauge
broker_workers 2
"""
        == joined
    )


def test_each_metric_is_described_once_and_in_one_place():
    """Prometheus refuses a text in which one is there twice."""
    families = list(text_string_to_metric_families(join_metrics({1: FIRST, 2: SECOND}).decode()))

    assert ["broker_outcomes", "process_threads", "broker_age_seconds", "broker_workers"] == [
        family.name for family in families
    ]


def test_without_metrics_there_is_still_how_many_answered():
    """A process that has counted nothing yet is there all the same."""
    assert join_metrics({1: b""}).endswith(b"broker_workers 1\n")
