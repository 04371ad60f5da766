"""What every policy engine promises: one input, one answer, or that there is none.

Rego is never believed here. An engine hands on what the policy said, whatever it is, with the
revision of the policy that said it; ``broker.policy.floor`` judges it. An engine that cannot
answer raises, and nothing that it raises, and nothing that it leaves out, is a yes.
"""

from typing import Final, Protocol

from broker.domain import Evaluation
from broker.telemetry import meter

ENTRYPOINT: Final = "broker/exchange/decision"  # what every policy decides
PROXY_ENTRYPOINT: Final = "broker/proxy/decision"  # what one decides where there is a token proxy
MAX_INPUT: Final = 1024 * 1024  # bytes; a request and its tokens cannot add up to a fifth of it
MAX_OUTPUT: Final = 64 * 1024  # bytes

# What stands for a decision that cannot be read, or should not be: it is no object, so the floor
# finds it malformed. As a value and not an error, because the same input would get it again.
UNREADABLE: Final = "unreadable: not JSON, or larger than 64 KiB"

_faults = meter.create_counter(
    "broker.policy.faults", description="Decisions that a policy engine did not make, by cause."
)


class PolicyUnavailable(Exception):  # noqa: N818 — a state of the engine, not an error of ours
    """The engine did not decide. The text is one of few, and holds nothing of the input."""


class PolicyEngine(Protocol):
    """Asks the policy of one configuration. Used by one event loop."""

    @property
    def revision(self) -> str:
        """What names the policy that is in force; the digest of its bundle where that is known."""
        ...

    @property
    def available(self) -> bool:
        """Whether a decision could be expected now."""
        ...

    async def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return what the policy says to ``input``, which is JSON; its output is unjudged.

        Raises ``PolicyUnavailable`` if it says nothing in time.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything; nothing is asked afterwards."""
        ...


def count_fault(engine: str, cause: str) -> None:
    """Count a decision that was not made. Both words come from closed sets in the engines."""
    _faults.add(1, {"engine": engine, "cause": cause})
