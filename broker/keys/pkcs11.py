"""Keys on a PKCS#11 token: made there, and nothing that leaves it is more than a signature.

The row holds an id. What is published is read from the token, and a key is taken for what the row
says only after it has signed something that the published key verifies: an id written into the
table by hand names no key of somebody else's.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.errors import ConfigurationError
from broker.jose.algorithms import ALGORITHMS
from broker.jose.compact import parse_compact
from broker.jose.errors import JoseError
from broker.jose.jwk import load_keys
from broker.jose.sign import (
    RSA_BITS,
    CannotSign,
    PublicKey,
    SigningKey,
    describe_public_key,
    sign_compact,
)
from broker.jose.verify import verify_signature
from broker.keys.provider import Custody, ProviderUnavailable, StoredKey, TokenObject, Unopenable
from broker.keys.token import Session, Token

_T = TypeVar("_T")

# Curves as CKA_EC_PARAMS has them: an object identifier, and for Edwards curves a name. PKCS#11
# 3.0 §2.3.3, §2.3.5.
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
_ED25519: Final = b"\x13\x0cedwards25519"
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key on a token: the public part here, the private part only there."""

    kid: str
    algorithm: str
    public_jwk: dict[str, Any]
    _token: Token = field(repr=False, compare=False)
    _id: bytes = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Return the JWS signature of ``message``. RFC 7518 §3: R ‖ S, which PKCS#11 has too.

        Raises ``CannotSign``, at the latest after the token's deadline. Blocks: see ``executor``.
        """
        try:
            return self._token.run(lambda session: self._sign(session, message))
        except (ProviderUnavailable, Unopenable, ConfigurationError) as error:
            raise CannotSign("the key on the token does not sign") from error

    def _sign(self, session: Session, message: bytes) -> bytes:
        key = session.found.get(self._id)
        if key is None:
            key = _find(session, self._id, pkcs11.ObjectClass.PRIVATE_KEY)
            session.found[self._id] = key
        match self.algorithm:
            case "ES256":
                # The token signs a digest that is made here: not every token can do both.
                digest = hashlib.sha256(message).digest()
                return bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
            case "RS256":
                return bytes(key.sign(message, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))
            case _:
                return bytes(key.sign(message, mechanism=pkcs11.Mechanism.EDDSA))


class TokenKeys:
    """Makes and opens keys on one token."""

    def __init__(self, token: Token) -> None:
        self._token = token

    @property
    def executor(self) -> Executor:
        """The token's thread: a signature there may take milliseconds, or hang."""
        return self._token.executor

    def keeps(self, custody: Custody) -> bool:
        """Return whether the key is on a token."""
        return isinstance(custody, TokenObject)

    async def make(
        self,
        algorithm: str,
        beside: Sequence[StoredKey],  # noqa: ARG002 — on a token no key depends on another
    ) -> tuple[SigningKey, Custody]:
        """Return a new key pair of the token: sensitive, not extractable, for signing alone."""
        reference = secrets.token_bytes(_ID_BYTES)
        key = await self._asked(lambda: self._make(reference, algorithm))
        return key, TokenObject(reference.hex())

    async def open(self, custody: Custody, kid: str, algorithm: str) -> SigningKey:
        """Return the key, after it has shown that it is the one. Raises ``Unopenable``."""
        if not isinstance(custody, TokenObject):
            raise Unopenable("this key is kept elsewhere")
        reference = bytes.fromhex(custody.reference)
        key = await self._asked(lambda: self._open(reference, algorithm))
        if key.kid != kid:
            raise Unopenable("a key on the token has another thumbprint than its row")
        return key

    async def destroy(self, custody: Custody) -> None:
        """Delete both parts of the key from the token."""
        if isinstance(custody, TokenObject):
            reference = bytes.fromhex(custody.reference)
            await self._asked(lambda: self._token.run(lambda session: _delete(session, reference)))

    async def _asked(self, work: Callable[[], _T]) -> _T:
        # In the token's thread from the beginning, so that a token that hangs takes no other.
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._token.deadline * 5):  # an RSA key takes seconds
                return await loop.run_in_executor(self._token.executor, work)
        except TimeoutError:
            raise ProviderUnavailable("the PKCS#11 token does not answer in time") from None

    def _make(self, reference: bytes, algorithm: str) -> TokenKey:
        self._token.run(lambda session: _generate(session, reference, algorithm))
        return self._open(reference, algorithm)

    def _open(self, reference: bytes, algorithm: str) -> TokenKey:
        public = self._token.run(lambda session: _read(session, reference, algorithm))
        jwk = describe_public_key(public, algorithm)
        key = TokenKey(jwk["kid"], algorithm, jwk, self._token, reference)
        _prove(key)
        return key


def _prove(key: TokenKey) -> None:
    """Raise ``Unopenable`` unless what the private part signs verifies with the public one."""
    # Without claims and without a type: nobody would take this for a token.
    token = sign_compact(key, {"alg": key.algorithm, "kid": key.kid}, b"{}")
    published = load_keys({"keys": [key.public_jwk]}, ALGORITHMS)
    try:
        verify_signature(parse_compact(token), published, [key.algorithm])
    except JoseError as error:
        raise Unopenable("a key on the token does not belong to its public part") from error


def _generate(session: Session, reference: bytes, algorithm: str) -> None:
    _delete(session, reference)  # of an attempt that lost its session half-way
    template: dict[str, Any] = {
        "id": reference,
        "label": f"broker {algorithm}",
        "store": True,
        "capabilities": pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        "private_template": {
            pkcs11.Attribute.SENSITIVE: True,
            pkcs11.Attribute.EXTRACTABLE: False,
        },
    }
    match algorithm:
        case "ES256":
            curve = session.native.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: _P256}, local=True
            )
            curve.generate_keypair(mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN, **template)
        case "Ed25519" | "EdDSA":
            curve = session.native.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: _ED25519}, local=True
            )
            curve.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, **template)
        case "RS256":
            session.native.generate_keypair(pkcs11.KeyType.RSA, RSA_BITS, **template)
        case _:
            raise ValueError("nothing is signed with this algorithm")


def _read(session: Session, reference: bytes, algorithm: str) -> PublicKey:
    """Return the public part. Raises ``Unopenable``, also if the private part could leave."""
    private = _find(session, reference, pkcs11.ObjectClass.PRIVATE_KEY)
    # Asked of the key, and not taken from what was asked for: some tokens ignore a template.
    if not private[pkcs11.Attribute.SENSITIVE] or private[pkcs11.Attribute.EXTRACTABLE]:
        raise Unopenable("a key on the token could be read out of it")
    public = _find(session, reference, pkcs11.ObjectClass.PUBLIC_KEY)
    try:
        match algorithm, public.key_type:
            case "ES256", pkcs11.KeyType.EC:
                point = _point(public[pkcs11.Attribute.EC_POINT], 65)
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            case "Ed25519" | "EdDSA", pkcs11.KeyType.EC_EDWARDS:
                point = _point(public[pkcs11.Attribute.EC_POINT], 32)
                return ed25519.Ed25519PublicKey.from_public_bytes(point)
            case "RS256", pkcs11.KeyType.RSA:
                modulus = int.from_bytes(public[pkcs11.Attribute.MODULUS])
                exponent = int.from_bytes(public[pkcs11.Attribute.PUBLIC_EXPONENT])
                return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise Unopenable("a key on the token is not well formed") from error
    raise Unopenable("a key on the token is not of the kind that its algorithm takes")


def _point(value: bytes, size: int) -> bytes:
    """Return CKA_EC_POINT without the OCTET STRING around it, which not every token writes."""
    wrapped = bytes([4, size])
    return value[2:] if len(value) == size + 2 and value.startswith(wrapped) else value


def _find(session: Session, reference: bytes, kind: pkcs11.ObjectClass) -> Any:  # noqa: ANN401 — a class of the native module's own
    found = session.native.get_objects(
        {pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: reference}
    )
    keys = list(found)
    if len(keys) != 1:
        raise Unopenable("a signing key is not on the token, or more than once")
    return keys[0]


def _delete(session: Session, reference: bytes) -> None:
    for found in list(session.native.get_objects({pkcs11.Attribute.ID: reference})):
        found.destroy()
