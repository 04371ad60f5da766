"""A witness after C2SP tlog-witness, which keeps the newest head that it has signed."""

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import CheckpointRejected, verify_checkpoint
from broker.audit.note import COSIGNATURE, Signature, SigningKeys, VerifierKey, parse_note, sign
from broker.audit.tree import is_consistent
from tests.audit import now
from tests.loopback import Loopback, http_answer, loopback

NAME = "witness.test/w1"
_KEY = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
ED25519_KEY = VerifierKey(NAME, COSIGNATURE, _KEY.public_key().public_bytes_raw())
_QUANTUM = SigningKeys.from_seeds(NAME, b"w" * 32, b"w" * 32)
MLDSA_KEY = _QUANTUM.public[1]


@dataclass
class Witness:
    """Its state, and the server that it answers on."""

    keys: tuple[VerifierKey, ...]  # of the log
    server: Loopback
    size: int = 0
    root: bytes = b""
    signed: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url("")

    def answer(self) -> bytes:
        """Judge the request that has just come."""
        status, text, kind = self._judge(self.server.bodies[-1].decode())
        self.statuses.append(status)
        return http_answer(text.encode(), status=f"{status} So", content_type=kind)

    def _judge(self, body: str) -> tuple[int, str, str]:
        plain, size_type = "text/plain", "text/x.tlog.size"
        head, _, note = body.partition("\n\n")
        first, *lines = head.split("\n")
        old = int(first.removeprefix("old "))
        proof = [base64.b64decode(line, validate=True) for line in lines]
        try:
            checkpoint = verify_checkpoint(note, self.keys)
        except CheckpointRejected:
            return 403, "", plain
        if old > checkpoint.size:
            return 400, "", plain
        if old != self.size or (old == checkpoint.size and checkpoint.root != self.root):
            return 409, f"{self.size}\n", size_type
        if old and not is_consistent(old, self.root, checkpoint.size, checkpoint.root, proof):
            return 422, "", plain
        assert old or not proof
        self.size, self.root = checkpoint.size, checkpoint.root
        self.signed.append(self.size)
        return 200, "".join(f"{line}\n" for line in self._sign(parse_note(note).body)), plain

    def _sign(self, body: str) -> list[Signature]:
        at = int(time.time())
        value = _KEY.sign(f"cosignature/v1\ntime {at}\n{body}".encode())
        plain = Signature(NAME, ED25519_KEY.id, at.to_bytes(8, "big") + value)
        return [plain, parse_note(sign(body, _QUANTUM, now())).signatures[1]]


@contextlib.asynccontextmanager
async def witness(keys: tuple[VerifierKey, ...]) -> AsyncIterator[Witness]:
    """A witness of the log of these keys."""
    async with loopback() as server:
        made = Witness(keys, server)
        server.answers["/add-checkpoint"] = made.answer
        yield made
