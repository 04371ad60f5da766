"""An exchange as it is explained: the policy input, and what the floor compares with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from broker.domain import Exchange
from broker.policy.input import build_input
from broker.workbench.recorded import NotReplayable, read_exchange


@dataclass(frozen=True, slots=True)
class Case:
    """What was, or would be, asked of the policy."""

    input: Mapping[str, Any]
    exchange: Exchange

    @property
    def client(self) -> str:
        """The id of the client that asks."""
        return self.exchange.client.id

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of what it asks for a token for."""
        return tuple(target.name for target in self.exchange.targets)

    @property
    def raw(self) -> bytes:
        """The input as an engine is given it."""
        return orjson.dumps(self.input)


def case_of(exchange: Exchange) -> Case:
    """Return the case of an exchange."""
    return Case(build_input(exchange), exchange)


def read_case(document: object) -> Case:
    """Return the case of a policy input. Raises ``NotReplayable``."""
    if not isinstance(document, Mapping):
        raise NotReplayable("it is no object")
    return Case(document, read_exchange(document))
