"""What the outside says of the sealed trail: fresh, signed by our key, and as it is elsewhere."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

from broker.audit.checkpoint import CheckpointRejected, verify_checkpoint
from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.note import SigningKeys
from broker.audit.publish.load import build_sinks
from broker.audit.publish.outbox import Outbox, OutboxUnavailable
from broker.audit.publish.sink import Contradiction, Sink, SinkUnavailable
from broker.audit.query import CannotRead
from broker.audit.seal_state import SealState, load_seal_state
from broker.cli.findings import Finding, bad, good, hint, warning
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.issuers.fetch import build_tls
from broker.settings import Settings, find_key_files

_NAME: Final = "audit checkpoints"
_LATE: Final = 3  # times ``every``, and a minute: then somebody should look
_SLACK: Final = timedelta(minutes=1)
_ACCESS_LATE: Final = timedelta(minutes=10)
_WITHIN: Final = 3.0  # seconds for each place outside
_RUN: Final = "see that a broker runs and what its log says, or run: broker audit seal"
_TAMPERED: Final = "keep that place as it is, and run: broker audit verify --checkpoints"


async def probe_audit(settings: Settings, database: Database) -> list[Finding]:
    """Return what is to be said of the seal, and of each place outside that has checkpoints."""
    try:
        state = await load_seal_state(database)
    except CannotRead as error:
        return [bad(_NAME, str(error), "run: broker migrate, as the owner of the tables")]
    findings = [_judge_seal(settings, state), *_judge_access(state)]
    return [*findings, *await _probe_outside(settings, database)]


def _judge_seal(settings: Settings, state: SealState) -> Finding:
    every = settings.audit.checkpoints.every
    if state.sealed_at is None or state.note is None:
        if state.batches_since is None:
            return good(_NAME, "nothing was recorded yet")
        waited = _since(state, state.batches_since)
        return warning(_NAME, f"there is none, and rows wait for {_span(waited)}", _RUN)
    keys = _keys(settings)
    if keys is not None:
        try:
            verify_checkpoint(state.note, keys.public, keys.name)
        except CheckpointRejected as error:
            mend = "name the file that the brokers of this database use; else look at the trail"
            return bad(_NAME, f"audit.checkpoints.key_file: the newest one, {error}", mend)
    text = f"the newest is of {_span(_since(state, state.sealed_at))} ago, over {state.size:,}"
    if state.batches_since is None:
        return good(_NAME, f"{text}; everything is sealed")
    waited = _since(state, state.batches_since)
    text = f"{text}; {state.batches:,} batches wait, the oldest for {_span(waited)}"
    if waited > _LATE * every + _SLACK:
        return warning(_NAME, text, _RUN)
    return good(_NAME, text)


def _judge_access(state: SealState) -> Iterator[Finding]:
    if state.accesses_since is None:
        return
    waited = _since(state, state.accesses_since)
    if waited > _ACCESS_LATE:
        text = f"{state.accesses:,} queries and exports wait for {_span(waited)} to be recorded"
        yield warning("audit access", text, "see that a broker runs: it puts them into the trail")


async def _probe_outside(settings: Settings, database: Database) -> list[Finding]:
    try:
        sinks = build_sinks(settings.audit.checkpoints, build_tls())
    except ConfigurationError as error:
        return [bad("checkpoints outside", str(error), "mend it in the configuration")]
    if not sinks:
        text = "they stay in the database, so whoever owns it could put an older copy there"
        return [hint("checkpoints outside", text, "name a place in audit.checkpoints")]
    return await asyncio.gather(*(_probe_sink(sink, Outbox(database)) for sink in sinks))


async def _probe_sink(sink: Sink, outbox: Outbox) -> Finding:
    name = f"checkpoints outside, {sink.name}"
    async with aclosing(sink):
        try:
            async with asyncio.timeout(_WITHIN):
                await sink.examine(outbox)
        except Contradiction as error:
            return bad(name, str(error), _TAMPERED)
        except (SinkUnavailable, OutboxUnavailable) as error:
            return bad(name, str(error), "see that it is there and takes what brokers bring")
        except TimeoutError:
            return bad(name, f"no answer within {_WITHIN:.0f} s", "check the way there")
    return good(name, "nothing there contradicts the database")


def _keys(settings: Settings) -> SigningKeys | None:
    path = find_key_files(settings).checkpoints
    try:
        if path is not None:
            return load_checkpoint_keys(path, build_origin(settings.issuer))
    except ConfigurationError:
        pass  # the inspection says what is wrong with the file
    return None


def _since(state: SealState, at: datetime) -> timedelta:
    return max(state.now - at, timedelta())


def _span(age: timedelta) -> str:
    for name, unit in (("days", timedelta(days=1)), ("h", timedelta(hours=1))):
        if age >= 2 * unit:
            return f"{age // unit} {name}"
    seconds = age // timedelta(seconds=1)
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"
