"""A witness: signs that it has seen one history of this log and no other. C2SP tlog-witness.

It is asked for the newest checkpoint only, with a proof that this adds to what it has signed
before. What it answers counts if its key, which the configuration names, verifies it.

A witness that has signed another history is the proof of a fork, for whoever asks it. It does not
end sealing: it is somebody else's, and could end it at will.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import httpx

from broker.audit.encoding import encode_hash
from broker.audit.note import (
    COSIGNATURE,
    MLDSA44,
    Note,
    NoteRejected,
    VerifierKey,
    parse_note,
    parse_signatures,
    parse_vkeys,
    verify_note,
)
from broker.audit.publish.outbox import Due, Outbox
from broker.audit.publish.sink import SinkUnavailable
from broker.errors import ConfigurationError

_SETTING: Final = "audit.checkpoints.witnesses[].vkey"
_WITHIN: Final = 10.0  # seconds for one answer
_MAX_ANSWER: Final = 16 * 1024  # bytes
_MAX_DIGITS: Final = 19
_SIGNED: Final = 200
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str


class WitnessSink:
    """One witness."""

    kind: Final = "witness"

    def __init__(self, url: str, vkey: str, tls: ssl.SSLContext) -> None:
        """Raise ``ConfigurationError`` for what is no key of a witness."""
        self._key = parse_witness_key(vkey)
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._tls = tls

    @property
    def name(self) -> str:
        """Its key's: another key is another witness."""
        return f"witness:{self._key.name}+{self._key.id.hex()}"

    async def examine(self, outbox: Outbox) -> None:
        """Contradict nothing: it says what it has seen when it is asked to sign."""

    async def catch_up(self, outbox: Outbox, patience: timedelta) -> int:
        """Have the newest checkpoint signed. Raises ``SinkUnavailable``."""
        newest = await outbox.newest(patience)
        old = await outbox.cursor(self.name)
        if newest is None or newest.size <= old:
            return 0
        answer = await self._ask(outbox, old, newest)
        if answer.status == _CONFLICT:
            # It has seen another one: after a crash here, or a restore there.
            old = self._parse_size(answer.text)
            if old > newest.size:
                raise SinkUnavailable(self._say(f"it has signed size {old}, beyond {newest.size}"))
            answer = await self._ask(outbox, old, newest)
        if answer.status != _SIGNED:
            raise SinkUnavailable(self._say(f"it answers {answer.status}"))
        for line in self._verified(newest.note, answer.text):
            await outbox.add_cosignature(newest.size, self._key.name, line)
        await outbox.advance(self.name, newest.size)
        return 1

    async def aclose(self) -> None:
        """Have nothing open."""

    async def _ask(self, outbox: Outbox, old: int, due: Due) -> _Answer:
        proof = await outbox.proof(old, due.size)
        return await self._post(_render(old, proof, due.note))

    async def _post(self, body: str) -> _Answer:
        try:
            async with asyncio.timeout(_WITHIN), self._open(body) as response:
                text = b""
                async for part in response.aiter_bytes():
                    text += part
                    if len(text) > _MAX_ANSWER:
                        raise SinkUnavailable(self._say("its answer is too long"))
        except (httpx.HTTPError, TimeoutError) as error:
            raise SinkUnavailable(self._say(type(error).__name__)) from error
        return _Answer(response.status_code, text.decode(errors="replace"))

    @asynccontextmanager
    async def _open(self, body: str) -> AsyncIterator[httpx.Response]:
        headers = {"content-type": "text/plain; charset=utf-8"}
        async with (
            httpx.AsyncClient(
                verify=self._tls, timeout=_WITHIN, trust_env=False, follow_redirects=False
            ) as client,
            client.stream("POST", self._url, content=body.encode(), headers=headers) as response,
        ):
            yield response

    def _verified(self, note: str, answer: str) -> Sequence[str]:
        try:
            signatures = parse_signatures(answer)
            signed = verify_note(Note(parse_note(note).body, signatures), [self._key])
        except NoteRejected as error:
            raise SinkUnavailable(self._say(f"it does not sign: {error}")) from None
        return [str(one) for one in signed.values()]

    def _parse_size(self, text: str) -> int:
        size = text.removesuffix("\n")
        if not (size.isascii() and size.isdecimal() and len(size) <= _MAX_DIGITS):
            raise SinkUnavailable(self._say("it does not say which size it has signed"))
        return int(size)

    def _say(self, what: str) -> str:
        return f"witness {self._key.name}: {what}"


def parse_witness_key(vkey: str) -> VerifierKey:
    """Return the key. Raises ``ConfigurationError`` for what is none, or signs other things."""
    try:
        (key,) = parse_vkeys(vkey)
    except ValueError as error:
        raise ConfigurationError(f"{_SETTING}: {error}") from None
    if key.kind not in {COSIGNATURE, MLDSA44}:
        # What such a key signs has no time, and may have been signed for something else.
        raise ConfigurationError(
            f"{_SETTING}: this key is none of a witness (c2sp.org/tlog-witness)"
        )
    return key


def _render(old: int, proof: Sequence[bytes], note: str) -> str:
    """Return the body of an ``add-checkpoint``."""
    return "".join((f"old {old}\n", *(f"{encode_hash(one)}\n" for one in proof), "\n", note))
