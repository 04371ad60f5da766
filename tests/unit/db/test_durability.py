"""What a commit has to mean before anything is recorded with it."""

import pytest

from broker.db.durability import NotDurable, assert_durable

DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
    "in_recovery": False,
}


@pytest.mark.row("INV-8")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="on-this-disk"),
        pytest.param({"synchronous_commit": "local"}, id="local-and-no-standby-to-lose-it"),
        pytest.param({"synchronous_standby_names": "one"}, id="on-a-standby-as-well"),
        pytest.param(
            {"synchronous_commit": "remote_apply", "synchronous_standby_names": "one"},
            id="applied-there",
        ),
    ],
)
def test_a_commit_that_survives_a_crash_is_good_enough(settings):
    """Promises §2.1: at start and on every new connection."""
    assert_durable(DURABLE | settings)


@pytest.mark.row("INV-8")
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        pytest.param({"fsync": "off"}, "fsync=off", id="fsync-off"),
        pytest.param({"full_page_writes": "off"}, "full_page_writes=off", id="torn-pages"),
        pytest.param({"synchronous_commit": "off"}, "synchronous_commit=off", id="commit-off"),
        pytest.param(
            {"synchronous_commit": "local", "synchronous_standby_names": "one"},
            "synchronous_commit=local",
            id="lost-by-a-failover",
        ),
        pytest.param({"in_recovery": True}, "standby", id="a-standby"),
    ],
)
def test_a_commit_that_could_be_lost_is_refused_by_name(settings, named):
    """The operator reads which setting to mend."""
    with pytest.raises(NotDurable, match=named):
        assert_durable(DURABLE | settings)
