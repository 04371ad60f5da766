"""What is looked for in the trail as it grows, from which number on, and what is kept quiet."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from broker.settings.problems import Problem
from broker.settings.sections import Rate, Section
from broker.settings.values import Identifier, IssuerUrl

_MOST_TIMES: Final = 1000

RuleName = Literal[
    "client_rate",
    "new_pair",
    "probing",
    "replay",
    "deep_chain",
    "use_after_revocation",
    "widening",
    "obliged",
]
Factor = Annotated[float, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _parse_moment(value: object) -> object:
    # YAML reads a time by itself, unless it is quoted. A number would be seconds to pydantic.
    found = value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError("write a time with its offset, like 2027-01-31T00:00:00Z")
    return found.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_parse_moment)]


class Rule(Section):
    """Whether something is looked for."""

    enabled: bool = Field(default=True, description="Whether it is looked for.")


class Repeated(Rule):
    """Something that happens again and again."""

    threshold: Rate

    def problems(self) -> Iterator[Problem]:
        """Yield what would have to be remembered for longer than is bearable."""
        if self.threshold.count > _MOST_TIMES:
            yield Problem(("threshold",), f"write at most {_MOST_TIMES}, like 5/1h")


class ClientRate(Rule):
    """A client asks far more than it does at that hour."""

    minimum: Count = Field(100, description="Requests in an hour that never are an alert.")
    factor: Factor = Field(3.0, description="How many times what is usual at that hour.")


class NewPair(Rule):
    """Subjects that others exchange are exchanged by a client that never did."""

    minimum: Count = Field(2, description="Such subjects in a day that never are an alert.")
    factor: Factor = Field(1.0, description="How many times the most of a day in two weeks.")


class Probing(Rule):
    """A client is refused far more often than it is at that hour."""

    minimum: Count = Field(30, description="Refusals in an hour that never are an alert.")
    factor: Factor = Field(3.0, description="How many times what is usual at that hour.")


class Replay(Repeated):
    """Tokens or assertions for one use come a second time."""

    threshold: Rate = Field(
        Rate(count=3, per=timedelta(hours=1)), description="So many in so long are an alert."
    )


class DeepChain(Rule):
    """A client's token has come further than any of its before."""

    depth: int = Field(5, ge=2, le=64, description="Exchanges along the way, from which on.")


class Obliged(Rule):
    """A token was issued that the policy wants somebody to be told of."""


class UseAfterRevocation(Repeated):
    """A client goes on with what was revoked."""

    threshold: Rate = Field(
        Rate(count=5, per=timedelta(hours=1)),
        description="So many in so long, by one client for one subject, are an alert.",
    )


class Widening(Rule):
    """A client asks for what it never asked for."""

    new: int = Field(5, ge=1, le=128, description="New scopes and targets in a day, from which on.")


class AlertRules(Section):
    """What is looked for, each with the number from which on it is told."""

    client_rate: ClientRate = Field(ClientRate(), description="A client asks far more than usual.")
    new_pair: NewPair = Field(NewPair(), description="Known subjects at a client new to them.")
    probing: Probing = Field(Probing(), description="A client is refused far more than usual.")
    replay: Replay = Field(Replay(), description="What is for one use comes a second time.")
    deep_chain: DeepChain = Field(DeepChain(), description="A token has come far.")
    use_after_revocation: UseAfterRevocation = Field(
        UseAfterRevocation(), description="What was revoked is used again and again."
    )
    widening: Widening = Field(Widening(), description="A client asks for much that is new.")
    obliged: Obliged = Field(Obliged(), description="The policy wants somebody to be told.")


class Suppression(Section):
    """What is counted and not written, for one client or for the subjects of one issuer."""

    rule: RuleName = Field(description="The rule that keeps quiet.")
    client: Identifier | None = Field(None, description="About this client.")
    issuer: IssuerUrl | None = Field(None, description="About subjects of this issuer.")
    until: Moment = Field(description="Until then: a time with its offset.")
    why: str = Field(min_length=1, max_length=500, description="Why, for whoever reads this later.")

    def problems(self) -> Iterator[Problem]:
        """Yield what makes it quiet about everything, or about nothing."""
        if (self.client is None) == (self.issuer is None):
            yield Problem(("client",), "write one of client and issuer; disable a rule as a whole")


class Alerts(Section):
    """Alerts about what the trail shows."""

    enabled: bool = Field(default=True, description="Whether the trail is looked through.")
    rules: AlertRules = Field(AlertRules(), description="What is looked for, and from when on.")
    suppress: tuple[Suppression, ...] = Field(
        (), max_length=256, description="What is counted and not written, with a reason and an end."
    )
