"""How sealing fares: what its metrics and the log say of it, each trouble once."""

import logging
import time

from broker.audit.batch import Batch
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_lag = meter.create_gauge(
    "broker.audit.seal.lag", unit="s", description="Age of the oldest batch without a checkpoint."
)
_waiting = meter.create_gauge(
    "broker.audit.seal.waiting",
    unit="1",
    description="Batches without a checkpoint when they were last looked for; at most a page.",
)
_checkpoints = meter.create_counter(
    "broker.audit.seal.checkpoints", unit="1", description="Checkpoints signed by this process."
)
_batches = meter.create_counter(
    "broker.audit.seal.batches", unit="1", description="Batches sealed by this process."
)
_failures = meter.create_counter(
    "broker.audit.seal.failures", unit="1", description="Seals that failed, by cause."
)
_refusing = meter.create_gauge(
    "broker.audit.seal.refusing",
    unit="1",
    description="1 while sealing is refused: what is outside contradicts the database.",
)
_suspicious = meter.create_counter(
    "broker.audit.seal.suspicious",
    unit="1",
    description="Batches that were not as a writer leaves them: changed, or one before is missing.",
)


class SealRefused(Exception):  # noqa: N818 — an answer to the operator
    """To seal would make a second history; ``str()`` says what contradicts what."""


class SealHealth:
    """Told by the sealer what became of each of its turns."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self._complained = False
        self._rekeyed = False
        self._caught_up = time.monotonic()
        _refusing.set(0)

    @property
    def failing(self) -> bool:
        """Whether there is a trouble that was told, and is not over."""
        return self._complained

    def sealed(self, batches: int, age: float) -> None:
        """``batches`` are under a new head; ``age`` is that of the oldest of them, in seconds."""
        _lag.set(max(0.0, age))
        _waiting.set(batches)
        if batches:
            _checkpoints.add(1)
            _batches.add(batches)

    def succeeded(self) -> None:
        """Everything that there was is under a head, or another replica sees to it."""
        self._caught_up = time.monotonic()
        if self._complained:
            self._complained = False
            _log.info("the audit trail is sealed again")
        if self.refusal is not None:
            self.refusal = None
            _refusing.set(0)

    def lost(self) -> None:
        """Another one was faster."""
        _failures.add(1, {"cause": "lost"})

    def failed(self, cause: str, error: Exception) -> None:
        """Nothing was sealed; ``cause`` is of a closed set."""
        self._late(cause)
        if not self._complained:
            self._complained = True
            # The text of ours only: what a library says may quote values.
            said = str(error) if cause == "database" else type(error).__name__
            _log.error("the audit trail is not sealed: %s", said, exc_info=cause == "unexpected")

    def refused(self, reason: str) -> None:
        """Nothing is sealed until people have looked; ``reason`` is for them."""
        self._late("refused")
        _refusing.set(1)
        if reason != self.refusal:
            self.refusal = reason
            self._complained = True
            _log.critical("the audit trail is not sealed, so that it is not forked: %s", reason)

    def suspect(self, fault: str, batch: Batch) -> None:
        """Tell of a batch that is not as its writer left it, or lacks the one before it."""
        _suspicious.add(1, {"fault": fault})
        _log.critical(
            "a batch of the audit trail is not as it was written: run `broker audit verify`",
            extra={"fault": fault, "writer": str(batch.writer), "number": batch.number},
        )

    def rekeyed(self) -> None:
        """Tell that the newest head was signed by another key: it was replaced, or is not ours."""
        if not self._rekeyed:
            self._rekeyed = True
            _log.warning("the newest checkpoint was signed by another key; verifiers need both")

    def _late(self, cause: str) -> None:
        _failures.add(1, {"cause": cause})
        # How old the oldest is cannot be asked now; it is no older than this.
        _lag.set(time.monotonic() - self._caught_up)
