"""Which revocations there can be: what each scope needs, and what it leaves out."""

from itertools import product

import pytest

from broker.blocklist.rule import OUTRIGHT, RuleInvalid, Scope, check_rule
from tests.builders import IDP, NOW

GOOD = {
    Scope.SUBJECT: (IDP, "alice", NOW),
    Scope.ACTOR: (IDP, "batch", NOW),
    Scope.CLIENT: ("", "svc-a", NOW),
    Scope.ISSUER: (IDP, "", NOW),
    Scope.KID: (IDP, "k-1", None),
    Scope.TXN: ("", "t-1", None),
    Scope.JTI: (IDP, "j-1", None),
    Scope.ALL: ("", "", NOW),
}


@pytest.mark.parametrize("scope", Scope)
def test_of_each_scope_exactly_one_form_is_a_rule(scope):
    """An issuer, a key and a time, each there or not: what is too much is refused as well."""
    taken = set()
    for issuer, key, not_before in product(("", IDP), ("", "x"), (None, NOW)):
        try:
            check_rule(scope, issuer, key, not_before, "why", "who")
            taken.add((bool(issuer), bool(key), not_before is not None))
        except RuleInvalid as invalid:
            assert str(invalid).startswith(f"{scope}: ")
    issuer, key, not_before = GOOD[scope]

    assert {(bool(issuer), bool(key), not_before is not None)} == taken


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"reason": ""}, id="no-reason"),
        pytest.param({"by": ""}, id="nobody"),
        pytest.param({"key": "x\0"}, id="nul-in-the-key"),
        pytest.param({"reason": "\0"}, id="nul-in-the-reason"),
        pytest.param({"key": "é" * 1025}, id="key-over-2-kib"),
        pytest.param({"issuer": "x" * 2049}, id="issuer-over-2-kib"),
        pytest.param({"reason": "x" * 1025}, id="reason-over-1-kib"),
        pytest.param({"by": "é" * 513}, id="who-over-1-kib"),
        pytest.param({"not_before": NOW.replace(tzinfo=None)}, id="time-of-no-zone"),
    ],
)
def test_what_the_ledger_could_not_hold_is_refused_before(fault):
    """In words, instead of an error of the database."""
    good = {"issuer": IDP, "key": "alice", "not_before": NOW, "reason": "why", "by": "who"}
    check_rule(Scope.SUBJECT, **good)
    with pytest.raises(RuleInvalid):
        check_rule(Scope.SUBJECT, **good | fault)


def test_outright_are_those_that_never_come_back():
    """Promises 4."""
    assert {Scope.KID, Scope.TXN, Scope.JTI} == OUTRIGHT
    assert {scope for scope, (*_, not_before) in GOOD.items() if not_before is None} == OUTRIGHT
