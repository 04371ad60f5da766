"""What ``audit.alerts`` may say: nothing that keeps quiet about everything, or for ever."""

import pytest
from pydantic import ValidationError

from broker.settings.audit import Audit

QUIET = {"rule": "probing", "client": "svc-a", "until": "2027-01-31T01:00:00+01:00", "why": "test"}


def test_a_suppression_ends_and_says_why():
    """Ours: its time is the same in every zone."""
    (read,) = Audit.model_validate({"alerts": {"suppress": [QUIET]}}).alerts.suppress

    assert "2027-01-31T00:00:00+00:00" == read.until.isoformat()


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        pytest.param({"client": None}, "one of client and issuer", id="about-everybody"),
        pytest.param({"issuer": "https://idp.test"}, "one of client and issuer", id="about-both"),
        pytest.param({"until": None}, "a time with its offset", id="for-ever"),
        pytest.param({"until": "2027-01-31T00:00:00"}, "a time with its offset", id="no-offset"),
        pytest.param({"until": 1801440000}, "a time with its offset", id="a-number"),
        pytest.param({"until": "soon"}, "a time with its offset", id="no-time"),
        pytest.param({"why": ""}, "at least 1 character", id="no-reason"),
        pytest.param({"rule": "all"}, "client_rate", id="no-such-rule"),
        pytest.param({"client": "a b"}, "A-Z a-z 0-9", id="no-client"),
        pytest.param({"subject": "alice"}, "not permitted", id="unknown-key"),
    ],
)
def test_a_suppression_that_cannot_be_is_refused(changes, remedy):
    """Ours: an error at the start names the key and what to write."""
    with pytest.raises(ValidationError, match=remedy):
        Audit.model_validate({"alerts": {"suppress": [QUIET | changes]}})


@pytest.mark.parametrize(
    ("rules", "remedy"),
    [
        pytest.param({"replay": {"threshold": "1001/1h"}}, "at most 1000", id="too-many"),
        pytest.param({"replay": {"threshold": "3"}}, "like 20/1m", id="no-rate"),
        pytest.param({"probing": {"factor": 0.5}}, "greater than or equal to 1", id="less"),
        pytest.param({"probing": {"minimum": 0}}, "greater than or equal to 1", id="nothing"),
        pytest.param({"deep_chain": {"depth": 1}}, "greater than or equal to 2", id="any-chain"),
        pytest.param({"brute_force": {}}, "not permitted", id="no-such-rule"),
    ],
)
def test_numbers_that_cannot_be_are_refused(rules, remedy):
    """Ours: what would be told always, or never, is no rule."""
    with pytest.raises(ValidationError, match=remedy):
        Audit.model_validate({"alerts": {"rules": rules}})
