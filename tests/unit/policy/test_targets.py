"""Targets by audience and resource: exact strings, or a refusal of the whole request."""

import pytest

from broker.domain import Target
from broker.errors import DecisionRejected, Reason
from broker.oauth import TokenType
from broker.policy.targets import TargetRegistry
from tests.builders import client, target, token_exchange_request

B = target("svc-b", resources=("https://b.test/", "https://b.test/?t=1"))
C = target("svc-c", resources=("urn:example:c",))
RSA = target("svc-rsa", algorithm="RS256")
REFERENCE = target("svc-ref", format="reference")


def found(*, default: str | None = None, **overrides) -> tuple[Target, ...]:
    registry = TargetRegistry([B, C, RSA, REFERENCE], max_targets=2)
    request = token_exchange_request(**{"audiences": ()} | overrides)
    return registry.find(request, client(default_target=default))


@pytest.mark.row("TX-2.1-11")
def test_audience_and_resource_mix_freely():
    """RFC 8693 §2.1: both name targets, and each target counts once."""
    assert (B, C) == found(
        audiences=("svc-b",), resources=("urn:example:c", "https://b.test/?t=1", "https://b.test/")
    )


@pytest.mark.row("RI-2-09")
def test_a_default_target_serves_requests_that_name_none():
    """RFC 8707 §2: a default if the client has one."""
    assert (C,) == found(default="svc-c")


@pytest.mark.row("RI-2-01", "RI-2-02", "RI-2-03", "RI-2-04", "RI-2-07", "RI-2-09", "TX-2.2.2-03")
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        pytest.param({}, Reason.TARGET_MISSING, id="none"),
        pytest.param({"audiences": ("svc-x",)}, Reason.TARGET_UNKNOWN, id="unknown-audience"),
        pytest.param({"audiences": ("SVC-B",)}, Reason.TARGET_UNKNOWN, id="case-changed"),
        pytest.param({"audiences": ("svc-b", "x")}, Reason.TARGET_UNKNOWN, id="one-good-one-not"),
        pytest.param(
            {"audiences": ("https://b.test/",)}, Reason.TARGET_UNKNOWN, id="resource-as-audience"
        ),
        *[
            pytest.param({"resources": (uri,)}, Reason.TARGET_UNKNOWN, id=uri)
            for uri in (
                "https://b.test",
                "https://b.test:443/",
                "HTTPS://b.test/",
                "https://b.test/x/../",
                "https://b.test/%2e",
                "https://b.test/?t=2",
                "svc:svc-b",
            )
        ],
        *[
            pytest.param({"resources": (uri,)}, Reason.TARGET_RESOURCE_INVALID, id=f"invalid-{uri}")
            for uri in (
                "/api",
                "api.example",
                "//h/p",
                "://h/p",
                "https://b.test/#x",
                "https://b.test/#",
                "https://b.test/ ",
                "https://[b.test/",
                "https://bé.test/",
                "svc-b",
            )
        ],
        pytest.param(
            {"audiences": ("svc-b", "svc-c", "svc-rsa")}, Reason.TARGET_TOO_MANY, id="too-many"
        ),
        pytest.param(
            {"audiences": ("svc-b", "svc-rsa")}, Reason.TARGET_INCOMPATIBLE, id="two-algorithms"
        ),
        pytest.param(
            {"audiences": ("svc-ref",), "requested_token_type": TokenType.JWT},
            Reason.TARGET_FORMAT_UNSUPPORTED,
            id="jwt-for-a-reference-target",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(names, reason):
    """RFC 8693 §2.2.2, RFC 8707 §2: the whole request, whatever else it names."""
    with pytest.raises(DecisionRejected) as rejected:
        found(**names)

    assert reason is rejected.value.reason
