"""A scenario file as it is written: every key, what it means, and what holds if it is left out.

The same models read the file, say what is wrong with it, and are its JSON Schema and its reference
page. A list may be written as one text: ``holds: orders.read orders.write``.
"""

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from broker.errors import Reason
from broker.settings.problems import Problem, refuse
from broker.settings.sections import Section
from broker.settings.values import parse_duration

NOON: Final = datetime(2026, 1, 14, 12, 0, tzinfo=UTC)  # a Wednesday
MAX_SCENARIOS: Final = 5000  # of one file
MAX_HOPS: Final = 16

DURATION: Final = r"^[0-9]{1,9}(ms|s|m|h|d)$"
_BECAUSE: Final = re.compile(r"refused(?:\s+because)?\s+(\S+)")
_GRANTED: Final = re.compile(r"granted(?:\s+(.+))?", re.DOTALL)
_ITEM: Final = re.compile(r"(\S+)(?:\s+from\s+(\S+))?")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    return value


def _split_items(value: object) -> object:
    if isinstance(value, str):
        found = _ITEM.findall(value.replace(",", " "))
        return tuple(f"{scope} from {source}" if source else scope for scope, source in found)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        if all(_ITEM.fullmatch(item) for item in value):
            return tuple(value)
        raise ValueError("write scopes, each alone or like: stock.read from orders.write")
    return value


def _parse_time(value: object) -> object:
    if isinstance(value, datetime):
        return value
    try:
        read = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "write a time like 2026-01-14T12:00:00Z; without an offset it is UTC"
        ) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _known_reason(value: object) -> object:
    reasons = [each.value for each in Reason]
    if not isinstance(value, str) or value in reasons:
        return value
    close = get_close_matches(value, reasons, n=1)
    raise ValueError(f"is no reason; write {close[0]}" if close else "is no reason of the errors")


Words = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Items = Annotated[
    tuple[str, ...],
    BeforeValidator(_split_items),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Span = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION}),
]
Moment = Annotated[datetime, BeforeValidator(_parse_time), WithJsonSchema({"type": "string"})]
Kind = Literal["access_token", "id_token", "jwt"]
Why = Annotated[
    str,
    BeforeValidator(_known_reason),
    WithJsonSchema({"enum": [each.value for each in Reason]}),
]


class Given(Section):
    """The token that is presented, as its issuer would have signed it."""

    subject: str | None = Field(
        None,
        min_length=1,
        description="Whose token: an issuer's alias, a colon and its `sub`, like `idp:alice`;"
        " a name alone is a client of the broker.",
    )
    holds: Words = Field((), description="Its scopes. Default: none.")
    claims: dict[str, Any] = Field(
        {}, description="Its further claims; the policy sees what `policy_claims` name."
    )
    issued_to: str | None = Field(
        None, description="The client that its issuer gave it to. Default: it does not say."
    )
    audience: Words = Field(
        (), description="Its `aud`. Default: the client that presents it; of an actor the broker."
    )
    chain: Words = Field(
        (), description="Who acts in it already, the current actor first, written like `subject`."
    )
    may_act: str | None = Field(
        None, description="Who alone may act for it, written like `subject`. Default: anybody."
    )
    depth: int | None = Field(
        None, ge=0, description="Exchanges that it came from. Default: as many as acted."
    )
    max_depth: int | None = Field(
        None, ge=0, description="Exchanges that it allows at most. Default: it does not say."
    )
    exchanged: bool = Field(
        default=False, description="It is one that the broker has issued, for this subject."
    )
    type: Kind = Field(
        "access_token", description="What it is declared to be. Default: an access token."
    )
    age: Span = Field(
        timedelta(minutes=1), description="How long ago it was issued. Default: a minute."
    )
    life: Span = Field(
        timedelta(hours=1),
        description="What is left of it; `0s`: it has expired. Default: an hour.",
    )


class When(Section):
    """The request."""

    client: str | None = Field(None, min_length=1, description="Who asks: the id of a client.")
    target: Words = Field(
        (), description="What for: names of targets. Default: the client's own default."
    )
    resource: Words = Field((), description="The same by URI.")
    asks: Words = Field(
        (), description="The scopes that are asked for. Default: none, so the grant's defaults."
    )
    purpose: str | None = Field(None, description="The parameter `purpose`.")
    actor: Given | None = Field(None, description="The actor token. Default: none is sent.")
    at: Moment = Field(NOON, description="When. Default: Wednesday, 2026-01-14T12:00:00Z.")
    source: str = Field(
        "192.0.2.1", description="The address that it comes from. Default: `192.0.2.1`."
    )
    wants: Literal["access_token", "jwt"] = Field(
        "access_token", description="The type of token that is asked for. Default: an access token."
    )


class Then(Section):
    """What must come out. What is not written is not compared, except scopes and their sources."""

    granted: Items = Field(
        (),
        description="Exactly the granted scopes; one that is derived as `stock.read from"
        " orders.write`. Default: what was asked for, all of it held.",
    )
    narrowed: Words | None = Field(None, description="Exactly what was asked for and not given.")
    refused: Why | None = Field(None, description="Nothing is granted, and this is the reason.")
    lifetime: Span | None = Field(None, description="How long it lives, exactly.")
    lifetime_at_most: Span | None = Field(None, description="How long it lives at most.")
    max_depth: int | None = Field(
        None, ge=1, description="Exchanges that it and all that follow may reach."
    )
    mode: Literal["delegation", "impersonation"] | None = Field(
        None, description="Whether it names who acts."
    )
    chain: Words | None = Field(
        None, description="Who acts in it, the current actor first, written like `subject`."
    )
    purpose: str | None = Field(None, description="The purpose that it carries.")
    claims: Words | None = Field(None, description="Exactly the claims of the subject in it.")
    reuse: Span | None = Field(
        None, description="For how long the same request is answered with this token; `0s`: never."
    )
    obligations: Words | None = Field(
        None, description="Exactly what it obligations the broker to."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_sentence(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        refused = _BECAUSE.fullmatch(value.strip())
        if refused is not None:
            return {"refused": refused[1]}
        granted = _GRANTED.fullmatch(value.strip())
        if granted is None:
            raise ValueError(
                "write granted, granted and scopes, or: refused because policy.scope_not_held"
            )
        return {"granted": granted[1]} if granted[1] else {}

    @model_validator(mode="after")
    def _refuse_both(self) -> "Then":
        if self.refused is not None:
            refuse(
                Problem((name,), "does not go with refused; remove one")
                for name in sorted(self.model_fields_set - {"refused"})
            )
        return self


class Onward(Section):
    """The token that came out is exchanged again."""

    when: When = Field(description="The request, with that token as the subject's.")
    then: Then = Field(description="What must come out of it.")
    after: Span = Field(
        timedelta(seconds=1), description="How long after the step before. Default: a second."
    )


class Scenario(Section):
    """One question and its answer."""

    name: str = Field(min_length=1, description="The heading: what holds, in a sentence.")
    given: Given = Field(Given(), description="The token that is presented.")
    when: When = Field(When(), description="The request that it comes with.")
    then: Then = Field(description="What must come out.")
    onward: tuple[Onward, ...] = Field(
        (), max_length=MAX_HOPS, description="Further exchanges, each of what came out before it."
    )


class Row(Given, When):
    """The same in one line: the keys of `given` and `when` side by side."""

    name: str | None = Field(None, description="The heading. Default: the row in words.")
    then: Then = Field(description="What must come out.")


class Defaults(Section):
    """What all scenarios of the file have, unless they say otherwise."""

    given: Given = Field(Given(), description="Of the token that is presented.")
    when: When = Field(When(), description="Of the request.")


class Sheet(Section):
    """A scenario file."""

    title: str = Field(min_length=1, description="The heading of the file.")
    about: str = Field("", description="What a reader should know before.")
    setting: Any = Field(
        None,
        description="Who there is: the path of a `broker.yaml`, from the file; or `issuers`,"
        " `clients` and `targets` right here, with the keys that they have there. Default:"
        " `broker.yaml` beside the file or above it.",
        json_schema_extra={
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "issuer": {"type": "string"},
                        "max_delegation_depth": {"type": "integer"},
                        "max_targets": {"type": "integer"},
                        "issuers": {"type": ["object", "array"]},
                        "clients": {"type": ["object", "array"]},
                        "targets": {"type": ["object", "array"]},
                    },
                },
            ]
        },
    )
    defaults: Defaults = Field(Defaults(), description="What all of them share.")
    scenarios: tuple[Scenario, ...] = Field(
        (), max_length=MAX_SCENARIOS, description="Each with a heading."
    )
    rows: tuple[Row, ...] = Field(
        (), max_length=MAX_SCENARIOS, description="Each in a line, as in a table."
    )
