"""A supposed exchange is refused where a real one would be, before the policy is asked."""

from typing import Any

import pytest

from broker.domain import Principal
from broker.errors import ConfigurationError, Reason, Rejected
from broker.policy.input import build_input
from broker.settings import Settings
from broker.workbench.question import Question, SupposedToken
from broker.workbench.suppose import suppose
from tests.builders import NOW
from tests.configuration import BROKER_ISSUER, IDP, document, write_keys

A, B = Principal(BROKER_ISSUER, "svc-a"), Principal(BROKER_ISSUER, "svc-b")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The configuration of the acceptance tests."""
    folder = tmp_path_factory.mktemp("configuration")
    write_keys(folder, "audit.key")
    return Settings.model_validate(document(audit={}))


def question(client: str = "svc-a", **overrides: Any) -> Question:
    """Alice's token in the hands of a client that asks for one scope at ``svc-b``."""
    token = {
        name: overrides.pop(name)
        for name in tuple(overrides)
        if name not in Question.__dataclass_fields__
    }
    subject = SupposedToken(
        **{"issuer": "idp", "subject": "alice", "scopes": frozenset({"orders.read"})} | token
    )
    values = {"audiences": ("svc-b",), "scopes": ("orders.read",)} | overrides
    return Question(client=client, subject=subject, at=NOW, **values)


def test_a_question_in_words_is_a_whole_policy_input(settings: Settings) -> None:
    """An alias becomes the issuer, a name the target, a chain the delegation."""
    asked = build_input(suppose(question(chain=(B,), depth=1, exchanged=True), settings))

    assert asked["subject"]["issuer"] == IDP
    assert [target["name"] for target in asked["request"]["targets"]] == ["svc-b"]
    assert asked["delegation"]["depth"] == 2
    assert asked["delegation"]["chain"] == [
        {"issuer": BROKER_ISSUER, "subject": "svc-a"},
        {"issuer": BROKER_ISSUER, "subject": "svc-b"},
    ]


def test_policy_sees_no_claim_that_its_issuer_may_not_show(settings: Settings) -> None:
    """Otherwise a question would be answered that no request can ask."""
    claims = {"groups": ["staff"], "email": "alice@idp.test"}

    shown = build_input(suppose(question(issuer="other", claims=claims), settings))

    assert shown["subject"]["claims"] == {"groups": ["staff"]}


def test_an_identity_grants_nothing_twice(settings: Settings) -> None:
    """A token of ours is not scopeless, whoever its subject's issuer is."""
    first = suppose(question(issuer="scopeless"), settings)
    later = suppose(question(issuer="scopeless", exchanged=True), settings)

    assert (first.subject.scopeless, later.subject.scopeless) == (True, False)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param(
            question(client="svc-b", issuer="strict"),
            Reason.SUBJECT_TOKEN_ISSUER_NOT_FOR_CLIENT,
            id="an issuer that is not for this client",
        ),
        pytest.param(question(audiences=("nobody",)), Reason.TARGET_UNKNOWN, id="no such target"),
        pytest.param(question(audiences=()), Reason.TARGET_MISSING, id="no target at all"),
        pytest.param(
            question(may_act=B), Reason.DELEGATION_MAY_ACT_MISMATCH, id="another one may act"
        ),
        pytest.param(question(depth=8), Reason.DELEGATION_DEPTH_EXCEEDED, id="too deep"),
    ],
)
def test_what_the_pipeline_refuses_is_refused(
    settings: Settings, asked: Question, reason: Reason
) -> None:
    """By the same code and for the same reason."""
    with pytest.raises(Rejected) as refused:
        suppose(asked, settings)

    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (question(client="nobody"), "nobody is no client; there are: my-client.id, "),
        (question(issuer="nowhere"), "nowhere is no issuer; there are: acts, "),
    ],
)
def test_a_name_that_nobody_has_is_said_with_those_there_are(
    settings: Settings, asked: Question, said: str
) -> None:
    """A misspelt name must not look like a refusal."""
    with pytest.raises(ConfigurationError, match=said):
        suppose(asked, settings)
