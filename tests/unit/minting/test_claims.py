"""What an issued token says: every claim, from the permit alone. RFC 9068 §2.2, RFC 8693 §4."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Principal
from broker.minting.claims import build_act, build_claims
from broker.oauth import RESERVED_CLAIMS
from tests.builders import (
    ALICE,
    BROKER,
    IDP,
    NOW,
    OTHER_IDP,
    client,
    delegation,
    exchange,
    target,
    token_exchange_request,
    verified_token,
)
from tests.decisions import permit

ID = "019ab000-0000-7000-8000-000000000001"
A, B, C = (Principal(BROKER, name) for name in ("svc-a", "svc-b", "svc-c"))
SECONDS = int(NOW.timestamp())


def claims(asked=None, *, now=NOW, **decision):
    return build_claims(permit(asked, **decision), issuer=BROKER, id=ID, now=now)


@pytest.mark.row("AT-2.2-01", "TX-4.3-01")
def test_the_first_token_of_a_chain():
    """RFC 9068 §2.2 and design §4: these claims, with these types, and no other."""
    assert {
        "iss": BROKER,
        "sub": "idp:alice",
        "sub_id": {"format": "iss_sub", "iss": IDP, "sub": "alice"},
        "aud": "svc-b",
        "client_id": "svc-a",
        "iat": SECONDS,
        "nbf": SECONDS,
        "exp": SECONDS + 120,
        "jti": ID,
        "txn": ID,
        "lineage": ["AAAAAAAAAAAAAAAAAAAAAA"],
        "lineage_keys": ["KKKKKKKKKKKKKKKKKKKKKK"],
        "lineage_clients": ["svc-a"],
        "root_iat": SECONDS - 60,
        "delegation_depth": 1,
        "max_delegation_depth": 3,
        "scope": "orders.read",
        "act": {"iss": BROKER, "sub": "svc-a"},
    } == claims()


@pytest.mark.row("TX-4.1-03", "TX-4.1-14", "TX-4.1-15", "RV-2.1-08")
def test_a_later_token_carries_on():
    """Design §4: origin, ``txn`` and ancestors stay; chain and count grow."""
    own = verified_token(
        principal=ALICE,
        asserted_by=BROKER,
        chain=(B, A),
        delegation_depth=2,
        max_delegation_depth=5,
        txn="root",
        lineage=("first", "second"),
        lineage_id="third",
        lineage_keys=("theirs", "ours"),
        key_id="ours",
        lineage_clients=("svc-a", "svc-b"),
        root_issued_at=NOW - timedelta(hours=2),
        client_id="svc-b",
    )
    asked = exchange(
        subject=own,
        client=client("svc-c"),
        delegation=delegation(
            acting=C, chain=(C, B, A), subject_chain=(B, A), depth=3, max_depth=5
        ),
    )

    later = claims(asked, max_depth=4)

    assert {
        "sub": "idp:alice",
        "sub_id": {"format": "iss_sub", "iss": IDP, "sub": "alice"},
        "client_id": "svc-c",
        "txn": "root",
        "lineage": ["first", "second", "third"],
        "lineage_keys": ["theirs", "ours"],
        "lineage_clients": ["svc-a", "svc-b", "svc-c"],
        "root_iat": SECONDS - 7200,
        "delegation_depth": 3,
        "max_delegation_depth": 4,
        "act": {
            "iss": BROKER,
            "sub": "svc-c",
            "act": {"iss": BROKER, "sub": "svc-b", "act": {"iss": BROKER, "sub": "svc-a"}},
        },
    }.items() <= later.items()


@pytest.mark.row("TX-4.1-13", "TX-4.1-05")
@pytest.mark.parametrize(
    ("chain", "act"),
    [
        pytest.param((), None, id="no-actor-before"),
        pytest.param((B,), {"iss": BROKER, "sub": "svc-b"}, id="an-actor-before"),
    ],
)
def test_impersonation_names_no_new_actor_and_forgets_none(chain, act):
    """RFC 8693 §1.1; invariant 3."""
    asked = exchange(
        subject=verified_token(chain=chain, delegation_depth=len(chain)),
        delegation=delegation(chain=(A, *chain), subject_chain=chain, depth=len(chain) + 1),
    )

    assert act == claims(asked, mode="impersonation").get("act")


@pytest.mark.row("TX-4.1-11")
def test_acting_for_oneself_names_no_actor():
    """Design §4: client and subject are one."""
    asked = exchange(subject=verified_token(principal=A), delegation=delegation(chain=()))

    assert "act" not in claims(asked)


@pytest.mark.row("TX-4.1-01", "TX-4.1-02")
@given(
    st.lists(st.builds(Principal, st.sampled_from([BROKER, IDP, OTHER_IDP]), st.text()), min_size=1)
)
def test_act_nests_the_chain(chain):
    """RFC 8693 §4.1: outermost first, identity members only, ``iss`` always written."""
    found, level = [], {"act": build_act(tuple(chain))}
    while "act" in level:
        level = level["act"]
        assert {"iss", "sub"} <= level.keys() <= {"iss", "sub", "act"}
        found.append(Principal(level["iss"], level["sub"]))

    assert chain == found


@pytest.mark.row("AT-3-01", "RI-2-08")
@pytest.mark.parametrize(
    ("targets", "aud"),
    [
        pytest.param((target(audience="https://b.test/"),), "https://b.test/", id="one"),
        pytest.param(
            (target(audience="https://b.test/"), target("svc-c")),
            ["https://b.test/", "svc-c"],
            id="two",
        ),
        pytest.param(
            (target(audience="same"), target("svc-c", audience="same")), "same", id="one-audience"
        ),
    ],
)
def test_aud_is_what_the_targets_are_called(targets, aud):
    """Invariant 7, RFC 7519 §4.1.3: one as a string, several as a list."""
    asked = exchange(targets=targets)

    assert aud == claims(asked, targets=[target.name for target in targets])["aud"]


@pytest.mark.row("TX-4.2-01", "AT-2.2.3-01")
def test_scope_is_one_string():
    """RFC 8693 §4.2: separated by spaces; sorted, so one set is one text."""
    asked = exchange(
        subject=verified_token(scopes=frozenset({"orders.write", "orders.read"})),
        scopes=("orders.write", "orders.read"),
    )

    assert (
        "orders.read orders.write" == claims(asked, scopes=["orders.write", "orders.read"])["scope"]
    )


@pytest.mark.row("TX-6-03")
@pytest.mark.parametrize(
    ("elapsed", "iat", "exp"),
    [
        pytest.param(timedelta(), 0, 120, id="on-the-second"),
        pytest.param(timedelta(microseconds=999_999), 0, 120, id="late-in-the-second"),
    ],
)
def test_times_are_whole_seconds(elapsed, iat, exp):
    """RFC 7519 §2: integers, and cut, so that nothing is issued in the future."""
    made = claims(exchange(at=NOW + elapsed), now=NOW + elapsed)

    assert (SECONDS + iat, SECONDS + iat, SECONDS + exp) == (made["iat"], made["nbf"], made["exp"])
    assert {int} == {type(made[name]) for name in ("iat", "nbf", "exp")}


@pytest.mark.row("TX-2.1-28")
def test_purpose_is_there_where_one_was_vetted():
    """Design §4: an extension of ours."""
    asked = exchange(request=token_exchange_request(purpose="billing"))

    assert "billing" == claims(asked, purpose="billing")["purpose"]
    assert "purpose" not in claims(asked)


@pytest.mark.row("TX-6-02", "AT-2.2.1-01", "AT-2.2.3-02")
def test_only_the_claims_of_the_target_s_list_are_carried():
    """RFC 9068 §2.2.1: constant through the exchange; RFC 8693 §6: only what is needed."""
    brought = {
        "auth_time": SECONDS - 3600,
        "acr": "2",
        "groups": ["staff"],
        "email": "alice@example.test",
        "custom": {"deep": [1, None]},
    }
    asked = exchange(
        subject=verified_token(claims=brought),
        targets=(target(claims=("auth_time", "acr", "groups", "custom", "amr")),),
    )

    made = claims(asked, claims=["custom", "auth_time", "acr", "amr"])

    assert {name: brought[name] for name in ("auth_time", "acr", "custom")} == {
        name: value for name, value in made.items() if name not in RESERVED_CLAIMS
    }


def test_every_claim_is_reserved_or_mapped():
    """AT-H-03: a claim that the broker writes and does not reserve could be brought along."""
    asked = exchange(request=token_exchange_request(purpose="billing"))

    assert set(claims(asked, purpose="billing")) <= RESERVED_CLAIMS


@pytest.mark.row("AT-H-03")
@given(
    st.dictionaries(
        st.sampled_from(sorted(RESERVED_CLAIMS)), st.text() | st.integers() | st.lists(st.text())
    )
)
def test_nothing_that_a_subject_brings_changes_a_claim_of_ours(brought):
    """Whatever the token says of aud, act, txn or scope, ours say what was verified."""
    asked = exchange(subject=verified_token(claims=brought), targets=(target(claims=("email",)),))

    assert claims() == claims(asked, claims=["email"])


@pytest.mark.row("AT-H-03")
def test_a_reserved_name_among_the_mapped_is_no_token():
    """The last line, were settings and floor both to fail."""
    made = permit(
        exchange(subject=verified_token(claims={"x": "evil"}), targets=(target(claims=("x",)),)),
        claims=["x"],
    )
    for name in RESERVED_CLAIMS:
        object.__setattr__(made, "claims", {name: "evil"})
        with pytest.raises(ValueError, match="a mapped claim"):
            build_claims(made, issuer=BROKER, id=ID, now=NOW)


@pytest.mark.row("TX-4.1-15")
def test_a_foreign_txn_is_not_ours():
    """RFC 8417 §2.2: only a token of ours has a root exchange of ours."""
    asked = exchange(subject=verified_token(claims={"txn": "theirs"}))

    assert ID == claims(asked)["txn"]
