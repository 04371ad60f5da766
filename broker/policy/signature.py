"""Who made a bundle: OPA's own signature over its files, in ``.signatures.json``.

It is one JWT that lists every file with its digest; OPA's documentation calls the format "bundle
signature". What holds when ``verify_files`` returns:

(1) the JWT is signed with the configured key and algorithm; HMAC is none of them here, since who
    verifies could sign as well;
(2) its scope is the configured one, and the key that it names, if it names one, is the configured;
(3) it lists exactly the files that are there: none is missing, none is beside it;
(4) each has its digest, by SHA-256 or longer.

JSON is hashed by its members in order and not by its bytes, as ``opa`` does: whoever writes a
``data.json`` anew, with other spaces, has not changed it. Numbers are compared as they are written.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import orjson

from broker.errors import ConfigurationError
from broker.jose.compact import parse_compact
from broker.jose.errors import JoseError, Malformed
from broker.jose.json import parse_json
from broker.jose.pem import load_public_pem
from broker.jose.sign import SigningKey, sign_compact
from broker.jose.verify import verify_signature
from broker.policy.snapshot import MAX_FILES
from broker.settings.policy import Verification as VerificationSettings

SIGNATURES: Final = ".signatures.json"
_MAX_SIGNATURE: Final = 1024 * 1024  # characters: ``MAX_FILES`` names and digests
_MAX_DEPTH: Final = 64  # of data that is hashed by its members
_MAX_KEY: Final = 16 * 1024  # bytes
_DIGESTS: Final = {
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA-512-256": "sha512_256",
}
_ENTRY: Final = frozenset({"name", "hash", "algorithm"})


class SignatureRefused(Exception):  # noqa: N818 — a property of the bundle
    """The bundle is not signed by whom it should be; the text says what is wrong, in a line."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whose signature a bundle must have."""

    public_key: bytes = field(repr=False)  # PEM
    algorithm: str
    key_id: str | None
    scope: str


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature a bundle gets; nothing that prints it shows the private part."""

    key: SigningKey
    key_id: str = "default"  # as ``opa`` calls it
    scope: str = ""


def load_verification(settings: VerificationSettings | None) -> Verification | None:
    """Return whose signature is required; None: nobody's. Raises ``ConfigurationError``."""
    if settings is None:
        return None
    path, where = settings.key_file, "policy.verification.key_file"
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_KEY)
        load_public_pem(pem, settings.algorithm, kid=None)
    except OSError as error:
        raise ConfigurationError(f"{where}: {path} cannot be read ({error.strerror})") from error
    except Malformed as error:
        raise ConfigurationError(f"{where}: {path}: {error}") from error
    return Verification(pem, settings.algorithm, settings.key_id, settings.scope)


def verify_files(files: Mapping[str, bytes], verification: Verification) -> None:
    """Return if the bundle is signed as it must be. Raises ``SignatureRefused``."""
    signatures = files.get(SIGNATURES)
    if signatures is None:
        raise SignatureRefused(f"it is not signed: there is no {SIGNATURES} in it")
    listed = _listed(_claims(_token(signatures), verification))
    present = files.keys() - {SIGNATURES}
    for name in sorted(present - listed.keys()):  # (3)
        raise SignatureRefused(f"{name} is not among the files that are signed")
    for name in sorted(listed.keys() - present):
        raise SignatureRefused(f"{name} is signed and is not there")
    for name, (algorithm, digest) in listed.items():  # (4)
        if _digest(name, files[name], algorithm) != digest:
            raise SignatureRefused(f"{name} is not what was signed")


def sign_files(files: Mapping[str, bytes], signer: Signer) -> bytes:
    """Return what ``.signatures.json`` is to hold beside these files."""
    claims: dict[str, Any] = {
        "files": [
            {"name": name, "hash": _digest(name, files[name], "SHA-256"), "algorithm": "SHA-256"}
            for name in sorted(files)
        ],
        # Deprecated by OPA, which writes it all the same.
        "keyid": signer.key_id,
    }
    if signer.scope:
        claims["scope"] = signer.scope
    header = {"alg": signer.key.algorithm, "kid": signer.key_id, "typ": "JWT"}
    return orjson.dumps({"signatures": [sign_compact(signer.key, header, orjson.dumps(claims))]})


def _token(signatures: bytes) -> str:
    try:
        document = parse_json(signatures[: _MAX_SIGNATURE + 64])
    except Malformed as error:
        raise SignatureRefused(f"{SIGNATURES} is not JSON, or too long") from error
    # OPA takes exactly one as well; another ``plugin`` is another verifier than the default.
    match document:
        case {"signatures": [str(token)], **others} if others in ({}, {"plugin": "_default"}):
            return token
    raise SignatureRefused(f"{SIGNATURES} holds something else than one signature")


def _claims(token: str, verification: Verification) -> Mapping[str, Any]:
    """Return what is signed. (1), (2)."""
    try:
        jws = parse_compact(token, most=_MAX_SIGNATURE)
        keys = load_public_pem(verification.public_key, verification.algorithm, kid=jws.kid)
        claims = verify_signature(jws, keys, (verification.algorithm,)).claims
    except JoseError as error:
        raise SignatureRefused(f"its signature is not of the configured key ({error})") from error
    named = jws.kid if jws.kid is not None else claims.get("keyid")
    if verification.key_id is not None and named not in (None, verification.key_id):
        raise SignatureRefused("it is signed with a key of another key_id")
    if claims.get("scope", "") != verification.scope:
        raise SignatureRefused("it is signed for another scope")
    return claims


def _listed(claims: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
    """Return algorithm and digest of each file that is listed."""
    entries = claims.get("files")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_FILES:
        raise SignatureRefused("its signature lists no files")
    listed: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != _ENTRY:
            raise SignatureRefused("its signature lists a file without name, hash or algorithm")
        name, digest, algorithm = entry["name"], entry["hash"], entry["algorithm"]
        if not isinstance(name, str) or not isinstance(digest, str) or name in listed:
            raise SignatureRefused("its signature lists a file twice, or not by its name")
        # Whoever can make two files of one digest has a signature for both.
        if algorithm not in _DIGESTS:
            raise SignatureRefused(f"its digests are not by {', '.join(_DIGESTS)}")
        listed[name] = algorithm, digest.lower()
    return listed


def _digest(name: str, content: bytes, algorithm: str) -> str:
    digest = hashlib.new(_DIGESTS[algorithm])
    base = name.rpartition("/")[2]
    if base in ("data.yaml", "data.yml"):
        raise SignatureRefused(f"{name} is YAML; `opa build` makes data.json of it")
    if base in ("data.json", ".manifest"):
        for part in _walk(_parse(name, content)):
            digest.update(part)
    else:
        digest.update(content)
    return digest.hexdigest()


class _Number(str):
    """A number as it is written: ``1.0`` and ``1`` have two digests."""

    __slots__ = ()


def _parse(name: str, content: bytes) -> Any:  # noqa: ANN401 — any JSON value
    try:
        parse_json(content, max_depth=_MAX_DEPTH)
        return _READER.decode(content.decode())
    except (Malformed, ValueError) as error:
        raise SignatureRefused(f"{name} is not JSON that has one meaning") from error


def _walk(value: object) -> Iterator[bytes]:
    """Yield what is hashed of a JSON value. Its depth is bounded."""
    match value:
        case dict():
            yield b"{"
            for number, key in enumerate(sorted(value)):
                yield b"," if number else b""
                yield _text(key)
                yield b":"
                yield from _walk(value[key])
            yield b"}"
        case list():
            yield b"["
            for number, item in enumerate(value):
                yield b"," if number else b""
                yield from _walk(item)
            yield b"]"
        case _Number():
            yield value.encode()
        case str():
            yield _text(value)
        case _:
            yield json.dumps(value).encode()  # true, false, null


def _text(text: str) -> bytes:
    # As Go's encoding/json writes it without escapes for HTML: these two are escaped all the same.
    written = json.dumps(text, ensure_ascii=False)
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_READER: Final = json.JSONDecoder(
    parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
)
