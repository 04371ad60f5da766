"""Which keys an issuer's JWK set holds, and which of them may have signed a token. RFC 7517.

A set is read key by key: what is unknown, weak or broken is left out and the rest stays usable
(RFC 7517 §5). Every key has exactly one algorithm from then on (RFC 8725 §3.1), and is found by
its ``kid`` alone, never by anything else that a token brings.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError as LibraryError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jwk import thumbprint as sha256_of

from broker.jose import base64url
from broker.jose.algorithms import ALGORITHMS, Algorithm
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.jose.strength import ed25519_weakness, rsa_weakness

MAX_KEYS: Final = 100  # in a set
MAX_TRIED: Final = 4  # keys for a token without ``kid``

# What makes the key, and its thumbprint: RFC 7638 §3.2, RFC 8037 §2.
_REQUIRED: Final = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
_COORDINATE: Final = {"P-256": 32, "P-384": 48, "P-521": 66}  # bytes, RFC 7518 §6.2.1.2
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class _Unusable(Exception):  # noqa: N818 — why a key is left out; never leaves this module
    """One key of a set is left out, for the reason in its text."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that was found fit, and the one algorithm that it verifies."""

    kid: str | None
    algorithm: Algorithm
    thumbprint: str
    key: Key = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one issuer, in the order of its set."""

    keys: tuple[PublicKey, ...] = ()
    _by_kid: Mapping[tuple[str, str], PublicKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_kid = {(key.kid, key.algorithm.name): key for key in self.keys if key.kid is not None}
        object.__setattr__(self, "_by_kid", by_kid)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def kids(self) -> frozenset[str]:
        """The names of the keys that have one."""
        return frozenset(key.kid for key in self.keys if key.kid is not None)

    def candidates(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        """Return the keys that may have signed a token with this header, few in any case."""
        algorithm = ALGORITHMS.get(alg)
        if algorithm is None:
            return ()
        if kid is not None:
            # A name that no key has is an unknown key, in a set of one key too.
            found = self._by_kid.get((kid, algorithm.name))
            return () if found is None else (found,)
        fitting = [key for key in self.keys if key.algorithm is algorithm]
        return tuple(fitting[:MAX_TRIED])


def load_keys(jwks: Mapping[str, Any] | bytes, algorithms: Collection[str]) -> KeySet:
    """Return the keys of a JWK set that may verify one of ``algorithms``; perhaps none.

    A key without ``alg`` gets the first of ``algorithms``, in the order of ``ALGORITHMS``, that
    its type and curve fit. Keys that share a ``kid`` are all left out.

    Raises ``Malformed`` if this is no JWK set, is too long, or holds a symmetric key: who
    publishes a secret has lost it, and nothing in that set can be believed.
    """
    usable = []
    for jwk in _members(jwks):
        try:
            usable.append(_public_key(jwk, algorithms))
        except _Unusable:
            continue
    distinct = tuple(dict.fromkeys(usable))
    shared = _shared_kids(distinct)
    return KeySet(tuple(key for key in distinct if key.kid not in shared))


def weaknesses(jwks: Mapping[str, Any] | bytes) -> list[str]:
    """Return a sentence for each thing in the set that is left out or guessed, in its order."""
    try:
        members = _members(jwks)
    except Malformed as malformed:
        return [str(malformed)]
    found, usable = [], []
    for number, jwk in enumerate(members, start=1):
        name = f"key {number}"
        try:
            usable.append(key := _public_key(jwk, ALGORITHMS))
        except _Unusable as unusable:
            found.append(f"{name} is not used: {unusable}")
            continue
        if key.kid is None:
            found.append(f"{name} has no kid, so it is tried only for tokens that name none")
        if "alg" not in jwk and key.algorithm.kty == "RSA":
            found.append(f"{name} has no alg, so it verifies only one of the algorithms allowed")
    repeated = _shared_kids(tuple(dict.fromkeys(usable)))
    return found + [
        f"several keys have the kid {kid!r}, and none is used" for kid in sorted(repeated)
    ]


def thumbprint(public_jwk: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a key, from its required members alone. RFC 7638 §3."""
    return sha256_of({name: public_jwk[name] for name in _REQUIRED[public_jwk["kty"]]})


def _members(jwks: Mapping[str, Any] | bytes) -> list[Any]:
    document = parse_json(jwks) if isinstance(jwks, bytes) else jwks
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, (list, tuple)):
        raise Malformed("not a JWK set: there is no list of keys")
    if len(keys) > MAX_KEYS:
        raise Malformed(f"the JWK set has more than {MAX_KEYS} keys")
    if any(isinstance(jwk, Mapping) and jwk.get("kty") == "oct" for jwk in keys):
        raise Malformed("the JWK set holds a symmetric key")
    return list(keys)


def _shared_kids(keys: tuple[PublicKey, ...]) -> frozenset[str]:
    # RFC 7517 §4.5 wants them distinct. Taking one of the two would be a guess.
    counts = Counter(key.kid for key in keys if key.kid is not None)
    return frozenset(kid for kid, count in counts.items() if count > 1)


def _public_key(jwk: Any, algorithms: Collection[str]) -> PublicKey:  # noqa: ANN401 — unverified JSON
    if not isinstance(jwk, Mapping):
        raise _Unusable("it is not a JSON object")
    # A published private key is anybody's.
    if any(name in jwk for name in _PRIVATE):
        raise _Unusable("its private part is in the set")
    _check_use(jwk)
    kid = jwk.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid):
        raise _Unusable("its kid is not a string, or empty")
    members = _key_members(jwk)
    algorithm = _algorithm(jwk, algorithms)
    return PublicKey(kid, algorithm, sha256_of(members), _imported(members))


def _check_use(jwk: Mapping[str, Any]) -> None:
    # RFC 7517 §4.2, §4.3: either may be absent; if both are there, both must allow it.
    if jwk.get("use", "sig") != "sig":
        raise _Unusable("its use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, (list, tuple)) or "verify" not in operations:
        raise _Unusable("its key_ops do not include verify")


def _key_members(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that make the key, each checked. RFC 7518 §6, RFC 8037 §2."""
    kty = jwk.get("kty")
    required = _REQUIRED.get(kty) if isinstance(kty, str) else None
    if required is None:
        raise _Unusable("its kty is not RSA, EC or OKP")
    members = {name: jwk.get(name) for name in required}
    if not all(isinstance(value, str) for value in members.values()):
        raise _Unusable(f"one of {', '.join(required)} is missing or not a string")
    try:
        weakness = _weakness(members)
    except Malformed as malformed:
        raise _Unusable("a member is not base64url") from malformed
    if weakness is not None:
        raise _Unusable(weakness)
    return members


def _weakness(members: dict[str, Any]) -> str | None:
    if members["kty"] == "RSA":
        n, e = (int.from_bytes(base64url.decode(members[name])) for name in ("n", "e"))
        return rsa_weakness(n, e)
    if members["kty"] == "EC":
        size = _COORDINATE.get(members["crv"])
        if size is None:
            return "its crv is not P-256, P-384 or P-521"
        if any(len(base64url.decode(members[name])) != size for name in ("x", "y")):
            return "a coordinate has not the length of the curve's"
        return None  # whether the point is on the curve is checked by the import
    if members["crv"] != "Ed25519":
        return "its crv is not Ed25519"
    return ed25519_weakness(base64url.decode(members["x"]))


def _algorithm(jwk: Mapping[str, Any], algorithms: Collection[str]) -> Algorithm:
    fits = [
        (name, algorithm)
        for name, algorithm in ALGORITHMS.items()
        if algorithm.kty == jwk["kty"] and algorithm.crv in (None, jwk.get("crv"))
    ]
    named = jwk.get("alg")
    if named is not None:
        # By the algorithm and not its name: ``EdDSA`` and ``Ed25519`` are one here.
        own = [algorithm for name, algorithm in fits if name == named]
        if not own:
            raise _Unusable("its alg is unknown or does not fit its kty and crv")
        fits = [(name, algorithm) for name, algorithm in fits if algorithm is own[0]]
    for name, algorithm in fits:
        if name in algorithms:
            return algorithm
    raise _Unusable("none of the algorithms allowed fits it")


def _imported(members: dict[str, Any]) -> Key:
    try:
        match members["kty"]:
            case "RSA":
                return RSAKey.import_key(members)
            case "EC":
                return ECKey.import_key(members)
            case _:
                return OKPKey.import_key(members)
    except (LibraryError, ValueError) as error:
        raise _Unusable("it is not a point of its curve") from error
