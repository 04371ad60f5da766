"""Grants that are well-formed and cannot be meant: found, with their line."""

import pytest

from tests.unit.policy.review.world import (
    GOOD,
    IDP,
    PARTNER,
    WORKLOADS,
    changed,
    flaws,
    said,
    settings,
)


def test_good_grants_have_no_flaw():
    """With and without a configuration."""
    assert [] == said(GOOD)
    assert [] == said(GOOD, alone=True)


@pytest.mark.parametrize(
    ("grants", "found"),
    [
        pytest.param(
            changed("app", "front", issuers=[PARTNER]),
            [("app.front", 5, True)],
            id="an-issuer-that-the-client-may-not-present",
        ),
        pytest.param(
            changed("app", "front", issuers=[IDP, PARTNER]),
            [("app.front.issuers[1]", 7, False)],
            id="one-issuer-of-two-that-it-may-not-present",
        ),
        pytest.param(
            changed("job", "back", derives={}, scopes=["back.read"]),
            [("job.back", 13, True), ("job.back.scopes[0]", 15, False)],
            id="a-scope-that-a-scopeless-issuer-does-not-give",
        ),
        pytest.param(
            changed("job", "back", scopes=["back.write"]),
            [("job.back.scopes[0]", 15, False)],
            id="one-scope-that-nobody-holds",
        ),
        pytest.param(
            changed("front", "back", derives={"back.write": ["identity"]}),
            [("front.back.derives.back.write[0]", 11, False)],
            id="identity-without-a-scopeless-issuer",
        ),
        pytest.param(
            changed("job", "back", issuers=["*"]),
            [("job.back.derives.back.read", 16, False)],
            id="everybody-of-every-scopeless-issuer",
        ),
        pytest.param(
            changed("app", "front", scopes=[]), [("app.front", 2, True)], id="nothing-given"
        ),
        pytest.param(
            changed("app", "front", issuers=[]), [("app.front.issuers", 5, True)], id="no-issuer"
        ),
        pytest.param(
            changed("app", "front", issuers=["*", IDP]),
            [("app.front.issuers[0]", 6, False)],
            id="a-wildcard-beside-a-name",
        ),
        pytest.param(
            changed("app", "front", derives={"front.write": ["front.write"]}),
            [("app.front.derives.front.write[0]", 7, False)],
            id="a-scope-that-follows-from-itself",
        ),
        pytest.param(
            changed("app", "front", scopes=["front.read", "front.raed"]),
            [("app.front.scopes[1]", 5, True)],
            id="a-scope-unknown-at-the-target",
        ),
        pytest.param(
            changed("app", "front", max_lifetime="10m"),
            [("app.front.max_lifetime", 5, False)],
            id="longer-than-the-target-allows",
        ),
        pytest.param(
            changed("app", "front", max_depth=9),
            [("app.front.max_depth", 5, False)],
            id="deeper-than-the-settings-allow",
        ),
        pytest.param(
            GOOD | {"nobody": {"front": {"scopes": ["front.read"]}}},
            [("nobody.front", 21, True)],
            id="a-client-that-may-not-exchange",
        ),
        pytest.param(
            {name: GOOD[name] for name in ("front", "job")},
            [("of app", 1, False)],
            id="a-client-without-grant",
        ),
        pytest.param(
            {name: GOOD[name] for name in ("app", "job")},
            [("of front", 1, False)],
            id="a-client-that-only-receives",
        ),
        pytest.param(
            {"app": GOOD["app"]},
            [("of job", 1, False), ("for back", 1, False), ("of front", 1, False)],
            id="a-target-that-nobody-is-granted",
        ),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_line(grants, found):
    """Fails: a request is refused for it. The rest is worth a look."""
    assert found == said(grants)


@pytest.mark.parametrize("scopes", [["*"], ["front.*"]])
def test_a_wildcard_is_found_without_a_configuration(scopes):
    """A star that the author means and the policy does not."""
    assert [("app.front.scopes[0]", 4, True)] == said(
        changed("app", "front", scopes=scopes), alone=True
    )


def test_a_default_target_without_a_grant_is_found():
    """A request that names no target is refused, though the client has grants."""
    configured = settings(clients={"app": {"default_target": "back"}})

    assert [("app", 1, True)] == said(GOOD, configured)


def test_what_a_client_gets_by_an_earlier_exchange_it_holds():
    """And no more: only where it may present what descends from that issuer."""
    job = {"derives": {"front.read": ["identity"]}, "scopes": [], "issuers": [WORKLOADS]}
    front = {"derives": {"back.write": ["front.read"]}, "scopes": ["back.read"]}
    grants = GOOD | {
        "job": GOOD["job"] | {"front": job},
        "front": {"back": front | {"issuers": [WORKLOADS]}},
    }
    later = settings(issuers={"workloads": {"clients": ["job", "front"]}})

    assert ["front.back"] == [subject for subject, _, _ in said(grants)]
    assert ["front.back.scopes[0]"] == [subject for subject, _, _ in said(grants, later)]


def test_a_circle_within_a_grant_is_found_without_a_configuration():
    """Whoever holds one of the two gets the other."""
    grants = changed(
        "app", "front", derives={"front.write": ["front.read"], "front.read": ["front.write"]}
    )
    (found,) = flaws(grants, alone=True)

    assert (
        "front.read follows from front.write, front.write from front.read"
        " (policies/broker/grants/data.yaml:6): a circle, so whoever holds one of these gets all"
        " of them"
    ) == found.text


def test_a_circle_over_two_exchanges_is_found():
    """What follows at the one target is what the other follows from."""
    grants = changed("front", "front", derives={"front.write": ["back.write"]})
    grants["front"]["back"] = {"scopes": [], "derives": {"back.write": ["front.write"]}}
    both = settings(clients={"front": {"targets": ["front", "back"]}})

    circles = [flaw for flaw in flaws(grants, both) if "circle" in flaw.text]
    assert ["grants front.back.derives.back.write"] == [flaw.subject for flaw in circles]
    assert [] == [flaw for flaw in flaws(grants) if "circle" in flaw.text]


def test_every_flaw_says_what_to_do():
    """A finding that leaves its reader alone is half of one."""
    every = flaws(changed("app", "front", scopes=["*"], issuers=["*", PARTNER], max_depth=9))

    assert every
    assert all(flaw.place and flaw.text and flaw.remedy for flaw in every)
