"""The floor: a decision that would break an invariant is refused, whatever Rego said."""

from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from broker.domain import Deny, Derived, Exchange, Obligation, Permit, Principal
from broker.errors import PUBLIC, Reason
from broker.oauth import RESERVED_CLAIMS, Mode, OAuthError
from broker.policy import floor
from broker.policy.floor import Invariant, judge
from tests.builders import (
    ALICE,
    BROKER,
    IDP,
    NOW,
    delegation,
    exchange,
    target,
    token_exchange_request,
    verified_token,
)
from tests.decisions import allowance, evaluation, refusal

A, B, C = (Principal(BROKER, name) for name in ("svc-a", "svc-b", "svc-c"))
ACTOR = verified_token(principal=Principal(IDP, "batch"), scopes=frozenset())


def judged(asked: Exchange | None = None, *, ceiling: int = 8, **overrides) -> Permit | Deny:
    return judge(asked or exchange(), evaluation(allowance(**overrides)), ceiling=ceiling)


def permitted(asked: Exchange | None = None, **overrides) -> Permit:
    permit = judged(asked, **overrides)
    assert isinstance(permit, Permit)
    return permit


def violations(asked: Exchange | None = None, **overrides) -> tuple[str, ...]:
    deny = judged(asked, **overrides)
    assert isinstance(deny, Deny)
    return deny.violations


def test_a_decision_within_every_bound_becomes_a_permit():
    """The whole value: from the exchange what is verified, from the decision what was chosen."""
    asked = exchange()
    said = evaluation(allowance())

    assert Permit(
        exchange=asked,
        evaluation=said,
        targets=asked.targets,
        scopes=("orders.read",),
        derived=(),
        expires_at=NOW + timedelta(seconds=120),
        mode=Mode.DELEGATION,
        chain=(A,),
        max_depth=3,
        purpose=None,
        claims={},
        obligations=(),
    ) == judge(asked, said, ceiling=8)


@pytest.mark.parametrize("seconds", [1, 30, 120])
def test_a_decision_may_have_its_token_used_again(seconds):
    """For as long as it says, up to a token's whole life."""
    assert permitted(reuse=seconds).reuse == timedelta(seconds=seconds)


def test_what_does_not_say_so_is_not_used_again():
    """A policy of before, and a decision that was recorded then, mean what they meant."""
    assert timedelta() == permitted().reuse


def test_a_decision_may_oblige_to_what_the_broker_knows():
    """An alert: it is met once the token is recorded."""
    assert (Obligation.ALERT,) == permitted(obligations=["alert"]).obligations


# ---------------------------------------------------------------- no decision


@pytest.mark.row("ATK-POL-01", "CVE-2026-9792")
def test_undefined_is_a_refusal():
    """No answer is not a yes."""
    said = evaluation(None)

    assert Deny((Reason.POLICY_UNDEFINED,), said) == judge(exchange(), said, ceiling=8)


@pytest.mark.row("ATK-POL-01", "CVE-2026-9792")
@pytest.mark.parametrize(
    "output",
    [
        pytest.param(False, id="false"),
        pytest.param(True, id="true"),
        pytest.param({}, id="empty-object"),
        pytest.param([], id="empty-list"),
        pytest.param("allow", id="text"),
        pytest.param(1, id="number"),
        pytest.param({"allow": True}, id="bare-yes"),
        pytest.param(allowance(lifetime=True), id="boolean-lifetime"),
        pytest.param(allowance(admin=True), id="unknown-member"),
        pytest.param(refusal("no.such.reason"), id="unknown-reason"),
        pytest.param(allowance(scopes=[str(n) for n in range(100_000)]), id="huge"),
    ],
)
def test_malformed_is_a_refusal(output):
    """What cannot be read to the letter was not said."""
    said = evaluation(output)

    assert Deny((Reason.POLICY_MALFORMED,), said) == judge(exchange(), said, ceiling=8)


def test_a_no_is_a_no_with_the_policy_s_reasons():
    """The first is answered, all are recorded."""
    said = evaluation(refusal("policy.scope_unknown", "policy.purpose_missing"))

    assert Deny((Reason.POLICY_SCOPE_UNKNOWN, Reason.POLICY_PURPOSE_MISSING), said) == judge(
        exchange(), said, ceiling=8
    )


# ---------------------------------------------------------------- violations


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize(
    ("decision", "broken"),
    [
        pytest.param({"scopes": []}, "scope", id="no-scope"),
        pytest.param({"scopes": ["orders.read", "admin"]}, "scope", id="extra-scope"),
        pytest.param({"targets": []}, "target", id="no-target"),
        pytest.param({"targets": ["svc-b", "svc-c"]}, "target", id="extra-target"),
        pytest.param({"targets": ["svc-c"]}, "target", id="another-target"),
        pytest.param({"targets": ["SVC-B"]}, "target", id="another-spelling"),
        pytest.param({"lifetime": 301}, "lifetime", id="longer-lifetime"),
        pytest.param({"lifetime": 10**30}, "lifetime", id="endless-lifetime"),
        pytest.param({"max_depth": 9}, "depth", id="higher-max_depth"),
        pytest.param({"max_depth": 10**30}, "depth", id="endless-depth"),
        pytest.param({"claims": ["email"]}, "claims", id="extra-claim"),
        pytest.param({"purpose": "billing"}, "purpose", id="purpose-that-nobody-gave"),
        pytest.param({"obligations": ["log"]}, "obligations", id="obligation"),
        pytest.param({"obligations": ["alert", "log"]}, "obligations", id="one-obligation-of-two"),
        pytest.param({"reuse": 121}, "reuse", id="reuse-beyond-the-lifetime"),
        pytest.param(
            {"reuse": 1, "obligations": ["alert"]}, "reuse", id="reuse-of-what-obliges-each-time"
        ),
        pytest.param({"reuse": 10**30}, "reuse", id="endless-reuse"),
    ],
)
def test_a_decision_that_asks_for_more_is_refused(decision, broken):
    """Policy output can only narrow: what is over is not cut off, the whole is refused."""
    assert (broken,) == violations(**decision)


@pytest.mark.row("TX-6-04", "ATK-SCP-02", "CVE-2026-56668")
@pytest.mark.parametrize(
    ("asked", "decision"),
    [
        pytest.param(
            exchange(subject=verified_token(scopes=frozenset({"orders.read", "orders.write"}))),
            {"scopes": ["orders.write"]},
            id="held-and-known-but-not-requested",
        ),
        pytest.param(
            exchange(
                subject=verified_token(scopes=frozenset({"orders.read", "billing"})),
                scopes=("orders.read", "billing"),
            ),
            {"scopes": ["orders.read", "billing"]},
            id="held-and-requested-but-unknown",
        ),
        pytest.param(
            exchange(
                subject=verified_token(scopes=frozenset({"orders.read"})),
                targets=(target(), target("svc-c", scopes=frozenset({"orders.write"}))),
            ),
            {"targets": ["svc-b", "svc-c"]},
            id="unknown-at-one-of-two-targets",
        ),
        pytest.param(
            exchange(scopes=("orders.write",)),
            {"scopes": ["orders.write"]},
            id="known-and-requested-but-not-held",
        ),
        pytest.param(
            exchange(subject=verified_token(scopes=frozenset())), {}, id="subject-without-scopes"
        ),
        pytest.param(
            exchange(subject=verified_token(scopes=frozenset({"*"}))), {}, id="wildcard-held"
        ),
        pytest.param(
            exchange(subject=verified_token(scopes=frozenset({"orders"}))), {}, id="prefix-held"
        ),
        pytest.param(
            exchange(
                subject=verified_token(scopes=frozenset()),
                actor=verified_token(scopes=frozenset({"orders.read"})),
            ),
            {},
            id="held-by-the-actor",
        ),
        pytest.param(
            exchange(scopes=(), subject=verified_token(scopes=frozenset())),
            {},
            id="default-that-is-not-held",
        ),
    ],
)
def test_scope_never_grows(asked, decision):
    """Invariant 1: requested, known everywhere, and held."""
    deny = judged(asked, **decision)

    assert ((Reason.POLICY_FLOOR_VIOLATION_SCOPE,), ("scope",)) == (deny.reasons, deny.violations)
    assert OAuthError.INVALID_SCOPE is PUBLIC[deny.reasons[0]].error


@pytest.mark.row("TX-6-05", "ATK-SCP-02")
@pytest.mark.parametrize(
    ("subject", "derived"),
    [
        pytest.param({}, {"scope": "orders.write", "from": "orders.admin"}, id="from-not-held"),
        pytest.param({}, {"scope": "orders.write", "from": "identity"}, id="not-scopeless"),
        pytest.param(
            {"scopes": frozenset({"identity"})},
            {"scope": "orders.write", "from": "identity"},
            id="a-scope-called-identity",
        ),
        pytest.param({}, {"scope": "orders.read", "from": "orders.read"}, id="another-scope"),
        pytest.param({}, {"scope": "orders.write", "from": "orders.write"}, id="from-itself"),
    ],
)
def test_nothing_follows_from_what_is_not_there(subject, derived):
    """Invariant 1: ``from`` is a held scope, or the identity of a subject without scopes."""
    asked = exchange(subject=verified_token(**subject), scopes=("orders.write",))

    assert ("scope",) == violations(asked, scopes=["orders.write"], derived=[derived])


@pytest.mark.row("TX-6-05")
@pytest.mark.parametrize(
    ("subject", "source"),
    [
        pytest.param({}, "orders.read", id="from-a-held-scope"),
        pytest.param({"scopes": frozenset(), "scopeless": True}, "identity", id="from-identity"),
    ],
)
def test_a_scope_that_follows_is_granted_with_its_source(subject, source):
    """Invariant 1: the audit row can say why."""
    asked = exchange(subject=verified_token(**subject), scopes=("orders.write",))

    permit = permitted(
        asked, scopes=["orders.write"], derived=[{"scope": "orders.write", "from": source}]
    )

    assert (("orders.write",), (Derived("orders.write", source),)) == (
        permit.scopes,
        permit.derived,
    )


def test_a_derivation_of_what_is_not_granted_is_a_false_record():
    """The row would say that a scope was derived which the token does not have."""
    derived = [{"scope": "orders.write", "from": "orders.read"}]

    assert ("scope",) == violations(derived=derived)


@pytest.mark.row("TX-6-06")
def test_less_than_was_requested_may_be_granted():
    """Narrowing is the policy's to decide."""
    asked = exchange(
        subject=verified_token(scopes=frozenset({"orders.read", "orders.write"})),
        scopes=("orders.write", "orders.read"),
    )

    assert ("orders.read",) == permitted(asked).scopes


def test_scopes_are_sorted():
    """One set is one text."""
    asked = exchange(
        subject=verified_token(scopes=frozenset({"orders.read", "orders.write"})),
        scopes=("orders.write", "orders.read"),
    )

    permit = permitted(asked, scopes=["orders.write", "orders.read"])

    assert ("orders.read", "orders.write") == permit.scopes


# ---------------------------------------------------------------- life


@pytest.mark.row("TX-6-03", "ATK-TIME-01")
@pytest.mark.parametrize(
    ("at", "subject", "actor", "lifetime", "seconds"),
    [
        pytest.param(0, 3600, None, 120, 120, id="decision"),
        pytest.param(0, 60, None, 120, 60, id="subject"),
        pytest.param(0, 3600, 60, 120, 60, id="actor"),
        pytest.param(0, 50, 60, 120, 50, id="subject-before-actor"),
        pytest.param(0.9, 3600, None, 120, 120, id="now-is-cut"),
        pytest.param(0, 60.9, None, 120, 60, id="subject-is-cut"),
        pytest.param(0, 3600, 60.9, 120, 60, id="actor-is-cut"),
        pytest.param(0, 3600, None, 300, 300, id="exactly-the-target's"),
        pytest.param(0, 1, None, 120, 1, id="one-second-left"),
        pytest.param(0.999, 1, None, 120, 1, id="less-than-a-second-left"),
    ],
)
def test_life_never_grows(at, subject, actor, lifetime, seconds):
    """Invariant 2: the least of all ends, in whole seconds, rounded down."""
    asked = exchange(
        at=NOW + timedelta(seconds=at),
        subject=verified_token(expires_at=NOW + timedelta(seconds=subject)),
        actor=actor
        and verified_token(principal=ACTOR.principal, expires_at=NOW + timedelta(seconds=actor)),
    )

    assert NOW + timedelta(seconds=seconds) == permitted(asked, lifetime=lifetime).expires_at


@pytest.mark.row("TX-6-03", "D-10")
@pytest.mark.parametrize(
    ("subject", "actor", "reason"),
    [
        pytest.param(0, None, "subject_token.expired", id="subject-now"),
        pytest.param(-5, None, "subject_token.expired", id="subject-before"),
        pytest.param(0.5, None, "subject_token.expired", id="subject-in-half-a-second"),
        pytest.param(60, 0, "actor_token.expired", id="actor-now"),
        pytest.param(0, 0, "subject_token.expired", id="both"),
    ],
)
def test_a_token_that_would_be_dead_on_arrival_is_not_issued(subject, actor, reason):
    """RFC 8693 §5: ``expires_in`` is at least one second, and leeway lengthens no life."""
    asked = exchange(
        subject=verified_token(expires_at=NOW + timedelta(seconds=subject)),
        actor=None
        if actor is None
        else verified_token(principal=ACTOR.principal, expires_at=NOW + timedelta(seconds=actor)),
    )

    deny = judged(asked)

    assert ((Reason(reason),), ()) == (deny.reasons, deny.violations)


def test_the_least_lifetime_of_all_targets_holds():
    """Design §5: several targets, the least of theirs."""
    asked = exchange(targets=(target(), target("svc-c", max_lifetime=timedelta(seconds=60))))

    assert ("lifetime",) == violations(asked, targets=["svc-b", "svc-c"], lifetime=61)
    assert permitted(asked, targets=["svc-c", "svc-b"], lifetime=60).targets == asked.targets


# ---------------------------------------------------------------- delegation


@pytest.mark.row("TX-4.1-05", "TX-4.1-13")
@pytest.mark.parametrize(
    ("mode", "chain"),
    [
        pytest.param("delegation", (A, B, C), id="delegation"),
        pytest.param("impersonation", (B, C), id="impersonation"),
    ],
)
def test_the_chain_is_kept_in_either_mode(mode, chain):
    """Invariant 3: impersonation adds no actor, and takes none away."""
    asked = exchange(
        subject=verified_token(chain=(B, C), delegation_depth=2),
        delegation=delegation(chain=(A, B, C), subject_chain=(B, C), depth=3),
    )

    assert chain == permitted(asked, mode=mode).chain


@pytest.mark.parametrize(
    ("chain", "subject_chain"),
    [
        pytest.param((A,), (B, C), id="dropped"),
        pytest.param((A, C, B), (B, C), id="reordered"),
        pytest.param((A, C), (B, C), id="cut"),
        pytest.param((A, A, B, C), (B, C), id="two-in-front"),
        pytest.param((C, B, C), (B, C), id="somebody-else-in-front"),
        pytest.param((A, B, C), (), id="forgotten-for-impersonation"),
    ],
)
def test_a_chain_that_is_not_the_subject_s_is_refused(chain, subject_chain):
    """Invariant 3, also were step 3 wrong."""
    asked = exchange(
        subject=verified_token(chain=(B, C), delegation_depth=2),
        delegation=delegation(chain=chain, subject_chain=subject_chain, depth=4),
    )

    assert "chain" in violations(asked, max_depth=8)


@pytest.mark.row("TX-4.1-06", "TX-4.1-14")
@pytest.mark.parametrize(
    ("asked", "max_depth", "ceiling"),
    [
        pytest.param(exchange(delegation=delegation(depth=3)), 2, 8, id="beyond-the-decision"),
        pytest.param(exchange(delegation=delegation(max_depth=2)), 3, 8, id="raises-the-subject's"),
        pytest.param(exchange(), 3, 2, id="raises-the-ceiling"),
        pytest.param(
            exchange(subject=verified_token(max_delegation_depth=2)), 3, 8, id="subject-s-claim"
        ),
        pytest.param(
            exchange(subject=verified_token(max_delegation_depth=0)), 1, 8, id="a-limit-of-nothing"
        ),
        pytest.param(
            exchange(subject=verified_token(delegation_depth=1)), 3, 8, id="does-not-count"
        ),
        pytest.param(
            exchange(
                subject=verified_token(chain=(B,)),
                delegation=delegation(chain=(A, B), subject_chain=(B,), depth=1),
            ),
            3,
            8,
            id="fewer-exchanges-than-links",
        ),
    ],
)
def test_depth_is_bounded(asked, max_depth, ceiling):
    """Invariant 4: by the decision, the subject and the ceiling; and counted."""
    assert ("depth",) == violations(asked, max_depth=max_depth, ceiling=ceiling)


def test_the_last_exchange_that_is_allowed_is_permitted():
    """Invariant 4: each bound is reached, and none is passed."""
    asked = exchange(
        subject=verified_token(chain=(B,), delegation_depth=2, max_delegation_depth=3),
        delegation=delegation(chain=(A, B), subject_chain=(B,), depth=3, max_depth=3),
    )

    assert 3 == permitted(asked, max_depth=3, ceiling=3).max_depth


@pytest.mark.row("TX-4.1-12")
@pytest.mark.parametrize(
    ("subject", "reenters"),
    [
        pytest.param({"chain": (B, A), "delegation_depth": 2}, True, id="a-prior-actor"),
        pytest.param({"principal": A, "chain": (B,), "delegation_depth": 1}, True, id="subject"),
        pytest.param({"chain": (B, A), "delegation_depth": 2}, False, id="step-3-overlooked-it"),
        pytest.param(
            {"principal": A, "chain": (B,), "delegation_depth": 1},
            False,
            id="step-3-overlooked-the-subject",
        ),
        pytest.param({"chain": (B,), "delegation_depth": 1}, True, id="under-another-name"),
    ],
)
def test_nobody_comes_back_unless_the_decision_says_so(subject, reenters):
    """Invariant 5."""
    token = verified_token(**subject)
    made = delegation(
        chain=(A, *token.chain), subject_chain=token.chain, depth=3, reenters=reenters
    )
    asked = exchange(subject=token, delegation=made)

    assert ("loop",) == violations(asked)
    assert permitted(asked, reentry=True).chain == made.chain
    assert permitted(asked, mode="impersonation").chain == token.chain


@pytest.mark.parametrize(
    ("subject", "made"),
    [
        pytest.param(
            {"chain": (A, B), "delegation_depth": 2},
            {"chain": (A, B), "subject_chain": (A, B), "depth": 3},
            id="the-current-actor-again",
        ),
        pytest.param({"principal": A}, {"chain": ()}, id="for-itself"),
        pytest.param(
            {"principal": Principal(IDP, "svc-a")}, {}, id="the-same-sub-at-another-issuer"
        ),
    ],
)
def test_this_is_no_loop(subject, made):
    """Invariant 5: nothing was appended, or somebody else was."""
    asked = exchange(subject=verified_token(**subject), delegation=delegation(**made))

    assert asked.delegation.chain == permitted(asked).chain


@pytest.mark.row("TX-4.1-13")
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(exchange(actor=ACTOR), id="an-actor"),
        pytest.param(exchange(delegation=delegation(actor_token=True)), id="a-mark-of-one"),
    ],
)
def test_impersonation_never_drops_an_actor_token(asked):
    """RFC 8693 §1.1: whoever sent one would believe that it is named."""
    assert ("mode",) == violations(asked, mode="impersonation")


# ---------------------------------------------------------------- what is written


@pytest.mark.row("RI-2-08")
def test_the_targets_are_those_of_the_request_in_its_order():
    """Invariant 7: the policy's order means nothing."""
    asked = exchange(targets=(target("svc-c"), target("svc-b")))

    assert asked.targets == permitted(asked, targets=["svc-b", "svc-c"]).targets
    assert ("target",) == violations(asked, targets=["svc-b"])
    assert ("target",) == violations(exchange(targets=()), targets=[])


@pytest.mark.row("TX-6-02", "AT-2.2.1-01")
def test_claims_are_the_subject_s_own_as_they_are():
    """Only those that target and policy name, only if the subject has them, and unchanged."""
    asked = exchange(
        subject=verified_token(
            claims={"email": "a@example.test", "acr": "2", "groups": ["x"], "iss": IDP}
        ),
        targets=(target(claims=("email", "acr", "amr")),),
    )

    assert {"acr": "2"} == permitted(asked, claims=["amr", "acr"]).claims


def test_a_claim_must_be_of_every_target_s_list():
    """Design §5: what one target may not have, a token for it does not carry."""
    asked = exchange(targets=(target(claims=("email",)), target("svc-c", claims=("acr",))))

    assert ("claims",) == violations(asked, targets=["svc-b", "svc-c"], claims=["email"])


@pytest.mark.row("AT-H-03")
@pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
def test_no_claim_that_the_broker_writes_is_mapped(claim):
    """Even were the settings to let a target list it."""
    asked = exchange(
        subject=verified_token(claims={claim: "evil"}), targets=(target(claims=(claim,)),)
    )

    assert ("claims",) == violations(asked, claims=[claim])


@pytest.mark.row("TX-2.1-28")
def test_the_purpose_is_the_requested_one_or_none():
    """A policy vets a purpose, and does not make one up."""
    asked = exchange(request=token_exchange_request(purpose="billing"))

    assert "billing" == permitted(asked, purpose="billing").purpose
    assert permitted(asked, purpose=None).purpose is None
    assert ("purpose",) == violations(asked, purpose="support")
    assert ("purpose",) == violations(asked, purpose="")


# ---------------------------------------------------------------- what is said about it


def test_every_invariant_that_is_broken_is_named():
    """The audit row has them all; the answer has none of them."""
    asked = exchange(
        actor=ACTOR,
        subject=verified_token(chain=(B, A), delegation_depth=2),
        delegation=delegation(chain=(A, A), reenters=True, actor_token=True),
    )
    everything = {
        "scopes": ["admin"],
        "targets": ["svc-x"],
        "lifetime": 10**6,
        "max_depth": 99,
        "claims": ["email"],
        "purpose": "x",
        "obligations": ["x"],
        "reuse": 10**7,
    }
    named = {
        *violations(asked, **everything, mode="impersonation"),
        *violations(asked, **everything, mode="delegation"),
    }

    assert {invariant.value for invariant in Invariant} == named


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        pytest.param({"scopes": ["x"]}, Reason.POLICY_FLOOR_VIOLATION_SCOPE, id="scope-alone"),
        pytest.param({"lifetime": 999}, Reason.POLICY_FLOOR_VIOLATION, id="another"),
        pytest.param(
            {"scopes": ["x"], "lifetime": 999}, Reason.POLICY_FLOOR_VIOLATION, id="scope-and-more"
        ),
    ],
)
def test_scope_alone_is_answered_as_scope(decision, reason):
    """RFC 6749 §5.2: ``invalid_scope`` is for what another scope would mend."""
    assert (reason,) == judged(**decision).reasons


def counted(monkeypatch, name: str, output: object) -> dict[tuple[tuple[str, str], ...], int]:
    """Return what one decision adds to a counter, by its labels."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    counter = provider.get_meter("test").create_counter("counted")
    monkeypatch.setattr(floor, name, counter)
    judge(exchange(), evaluation(output), ceiling=8)
    data = reader.get_metrics_data()
    provider.shutdown()
    points = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    return {tuple(sorted(point.attributes.items())): point.value for point in points}


@pytest.mark.row("ATK-POL-01")
def test_a_violation_is_counted_by_invariant_and_logged(monkeypatch, caplog):
    """Labels are of a closed set, and the log names no value of the decision."""
    output = allowance(scopes=["canary"], lifetime=999)

    assert {(("invariant", "scope"),): 1, (("invariant", "lifetime"),): 1} == counted(
        monkeypatch, "_violations", output
    )
    assert ["ERROR"] == [record.levelname for record in caplog.records]
    assert ["scope", "lifetime"] == caplog.records[0].invariants
    assert "canary" not in str(vars(caplog.records[0]))


@pytest.mark.row("ATK-POL-01", "CVE-2026-9792")
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        pytest.param(None, "policy.undefined", id="undefined"),
        pytest.param({"canary": 1}, "policy.malformed", id="malformed"),
    ],
)
def test_an_unusable_decision_is_counted_and_logged(monkeypatch, caplog, output, reason):
    """Design §2: deny with an alarm."""
    assert {(("reason", reason),): 1} == counted(monkeypatch, "_unusable", output)
    assert [("ERROR", reason)] == [(r.levelname, r.reason) for r in caplog.records]
    assert "canary" not in str(vars(caplog.records[0]))


def test_a_refusal_by_the_policy_is_no_alarm(monkeypatch, caplog):
    """Saying no is what it is for."""
    assert {} == counted(monkeypatch, "_violations", refusal())
    assert [] == caplog.records


def test_the_subject_is_its_origin_s():
    """Invariant 9: nothing of the decision can name another subject."""
    assert ALICE == permitted().exchange.subject.principal
