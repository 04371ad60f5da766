"""What is called out of reach is: beside tokens that are exchanged, one after the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy.grants import Grant
from broker.policy.review.reach import Reach
from tests.unit.policy.review.world import CLIENTS, IDP, ISSUERS, PARTNER, TARGETS, WORKLOADS
from tests.unit.policy.review.world import settings as configure

_SCOPES = ("back.read", "back.write", "front.read", "front.write")
_some = st.lists(st.sampled_from(_SCOPES), unique=True, max_size=2)
_grants = st.dictionaries(
    st.tuples(st.sampled_from(list(CLIENTS)), st.sampled_from(list(TARGETS))),
    st.builds(
        Grant,
        scopes=_some,
        derives=st.dictionaries(
            st.sampled_from(_SCOPES),
            st.lists(st.sampled_from(["identity", *_SCOPES]), unique=True, min_size=1, max_size=2),
            min_size=1,
            max_size=2,
        ),
        issuers=st.sampled_from([["*"], [WORKLOADS], [IDP, WORKLOADS], [IDP], [PARTNER], []]),
    ),
    min_size=4,
    max_size=8,
)
_may = st.lists(st.sampled_from(list(CLIENTS)), unique=True, min_size=2)
_is = st.lists(st.sampled_from(list(TARGETS)), unique=True, min_size=1)


@settings(max_examples=150, deadline=None)
@given(_grants, st.tuples(_may, _may, _may), st.tuples(_is, _is, _is))
def test_whatever_a_token_can_hold_in_three_exchanges_is_in_reach(grants, may, own):
    """Nothing that could happen is called impossible, over whichever clients it goes."""
    configured = configure(
        issuers={alias: {"clients": who} for alias, who in zip(ISSUERS, may, strict=True)},
        clients={
            "app": {"targets": own[0]},
            "front": {"targets": list({"front", *own[1]})},  # whose id it is
            "job": {"targets": own[2]},
        },
    )
    reach = Reach(grants, configured)
    issuers = {one.issuer: one for one in configured.issuers}
    # Who presents it, where its subject is from, what it holds, whether that is an identity.
    tokens = {
        (client.id, issuer.issuer, () if issuer.scopeless else _SCOPES, issuer.scopeless)
        for client in configured.clients
        for issuer in configured.issuers
    }
    for _ in range(3):
        for client, origin, held, identity in list(tokens):
            if client not in issuers[origin].clients:
                continue
            for (asking, target), grant in grants.items():
                if asking != client or not {"*", origin} & set(grant.issuers):
                    continue
                assert origin in reach.origins(client, grant)
                assert all(reach.holds(client, grant, scope) for scope in held)
                assert not identity or reach.holds(client, grant, "identity")
                given_ = {scope for scope in grant.scopes if scope in held} | {
                    scope
                    for scope, sources in grant.derives.items()
                    if set(sources) & {*held, *(["identity"] if identity else [])}
                }
                known = next(one for one in configured.targets if one.name == target).scopes
                for owner in configured.clients:
                    if target in owner.targets:
                        tokens.add((owner.id, origin, tuple(sorted(given_ & known)), False))


def test_a_subject_that_nobody_may_present_has_no_reach():
    """Also where the grant says that any issuer will do."""
    configured = configure(issuers={alias: {"clients": ["nobody"]} for alias in ISSUERS})
    grant = Grant(scopes=["front.read"])
    reach = Reach({("app", "front"): grant}, configured)

    assert [] == reach.origins("app", grant)
    assert not reach.holds("app", grant, "front.read")
