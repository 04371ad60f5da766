"""What is sent to a client team is about their own request, whatever the policy holds."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.cli.policy.explain_said import print_client_answer
from broker.errors import PUBLIC, Reason
from broker.policy.decision import POLICY_REASONS
from broker.workbench.explain.case import read_case
from broker.workbench.explain.client import Sent, answer_client, answer_refused
from broker.workbench.explain.policy import ExplainedPolicy, open_policy
from tests.integration.policy.conftest import STOCK
from tests.integration.policy.inputs import TIME, policy_input, target
from tests.unit.cli.rendering import printed

# Part of every name that the client has not sent itself; no English word has it.
SECRET: Final = "zqx"
ASKED: Final = ("mine.read", "mine.write", "not.mine")
RULE: Final = f"""# METADATA
# schemas:
#   - input: schema.input
package broker.rules.{SECRET}rule

# METADATA
# description: Nobody {SECRET} may know this.
deny contains "policy.denied" if input.request.purpose == "fun"
"""


def grant(**members: Any) -> dict[str, Any]:
    """A grant with names in it that no client has to know."""
    return {
        "scopes": ["mine.read", f"{SECRET}.scope"],
        "derives": {"mine.write": [f"{SECRET}.source", "mine.other"]},
        "default_scopes": [f"{SECRET}.scope"],
        "purposes": [f"{SECRET}-purpose"],
        "issuers": [f"https://{SECRET}.test"],
        "max_lifetime": "77s",
        "max_depth": 2,
    } | members


GRANTS: Final = {
    "svc-a": {
        "svc-b": grant(),
        f"{SECRET}-target": grant(),
        "svc-open": grant(purposes=[], issuers=["*"], excess="narrow"),
    },
    f"{SECRET}-client": {"svc-b": grant()},
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainedPolicy]:
    """The stock policy with other data, and a rule of one's own."""
    folder = tmp_path_factory.mktemp(SECRET) / "policies"
    for name in STOCK.rglob("*"):
        if name.is_file() and not name.name.endswith("_test.rego"):
            place = folder / name.relative_to(STOCK)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(name.read_bytes())
    (folder / "broker/grants/data.yaml").write_text(yaml.safe_dump(GRANTS))
    own = folder / f"broker/rules/{SECRET}rule/{SECRET}rule.rego"
    own.parent.mkdir(parents=True)
    own.write_text(RULE)
    with ExitStack() as stack:
        yield stack.enter_context(open_policy(folder, ceiling=8))


def target_of(name: str) -> dict[str, Any]:
    """A target that knows more scopes than anybody has asked for."""
    return target(name, scopes=["mine.read", "mine.write", f"{SECRET}.scope"], claims=[SECRET])


requests = st.fixed_dictionaries(
    {
        "request__targets": st.sampled_from(["svc-b", "svc-open", "svc-none"]).map(
            lambda name: [target_of(name)]
        ),
        "request__scopes": st.lists(st.sampled_from(ASKED), unique=True),
        "request__purpose": st.sampled_from([None, "fun"]),
        "subject__issuer": st.sampled_from([f"https://{SECRET}.test", f"https://o{SECRET}.test"]),
        "subject__subject": st.just(f"{SECRET}-person"),
        "subject__scopes": st.lists(
            st.sampled_from(["mine.read", "mine.write", f"{SECRET}.source"]), unique=True
        ),
        "subject__expires_at": st.integers(TIME, TIME + 100),
        "delegation__depth": st.integers(1, 3),
        "delegation__reenters": st.booleans(),
    }
)


@settings(max_examples=12)
@given(changes=requests, scope=st.none() | st.sampled_from([*ASKED, "never.asked"]))
def test_a_client_team_reads_nothing_that_it_has_not_sent(
    policy: ExplainedPolicy, changes: dict[str, Any], scope: str | None
) -> None:
    """No other client, target or scope, no grant, rule, person, file or revision."""
    found = policy.explain(read_case(policy_input(**changes)))
    sent = Sent("request-1", "2026", "svc-a", ("svc-b",), (), tuple(changes["request__scopes"]))

    answer = answer_client(sent, found, scope=scope)

    said = orjson.dumps(answer.render()).decode()
    said += printed(lambda console: print_client_answer(answer, console))
    # What is in the token that they hold by now is no secret, so default scopes may be named.
    for granted in found.verdict.scopes:
        said = said.replace(granted, "")
    if found.verdict.allowed:
        said = said.replace(str(found.verdict.lifetime), "")  # nor how long it lives
    assert SECRET not in said
    assert policy.candidate.revision[:8] not in said
    assert not any(word in said for word in (".rego", "data.yaml", "broker.", "77", "derive"))
    # And what it does say is what the client was answered.
    if not found.verdict.allowed:
        first = PUBLIC[found.verdict.reasons[0]]
        assert answer.error == first.error.value
        assert first.description.removesuffix(".") in answer.points


@pytest.mark.parametrize("reason", [*POLICY_REASONS.values(), Reason.SUBJECT_TOKEN_EXPIRED])
def test_a_refusal_is_told_in_the_words_that_every_caller_reads(reason: Reason) -> None:
    """Where no more is known than why it was refused then."""
    sent = Sent("request-1", "2026", "svc-a", (), ("https://svc-b.test/",), ("a",))

    answer = answer_refused(sent, (reason,))

    assert answer.points == (PUBLIC[reason].description.removesuffix("."),)
    assert answer.asked_for == ("https://svc-b.test/",)
    text = printed(lambda console: print_client_answer(answer, console))
    assert text.startswith("Request request-1, 2026, client svc-a\n")
