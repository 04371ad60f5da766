"""Circles of derivations, beside a search that is slow and plain."""

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.grants import Grant
from broker.policy.review.cycles import Derivation, find_circles

_SCOPES = st.sampled_from("abcdef")
_DERIVES = st.dictionaries(_SCOPES, st.lists(_SCOPES, unique=True, max_size=3), max_size=6)


def reached(derives, start):
    """Everything that follows from a scope, in however many steps."""
    found = set()
    waiting = [start]
    while waiting:
        source = waiting.pop()
        for scope, sources in derives.items():
            if source in sources and scope != source and scope not in found:
                found.add(scope)
                waiting.append(scope)
    return found


@given(_DERIVES)
def test_a_derivation_is_in_a_circle_exactly_if_its_source_follows_from_it(derives):
    """Both ways, and each in one circle."""
    grants = {("c", "t"): Grant(scopes=[], derives=derives)}
    circles = list(find_circles(grants, None))

    found = [each for circle in circles for each in circle]
    assert len(found) == len(set(found))
    assert set(found) == {
        Derivation("c", "t", scope, source)
        for scope, sources in derives.items()
        for source in sources
        if source != scope and source in reached(derives, scope)
    }


def test_identity_is_no_scope_that_something_leads_back_to():
    """Also where a grant derives a scope of that name."""
    grants = {("c", "t"): Grant(scopes=[], derives={"identity": ["a"], "a": ["identity"]})}

    assert [] == list(find_circles(grants, None))
