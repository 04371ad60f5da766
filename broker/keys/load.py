"""The providers that a configuration names, and what each of them needs at the start."""

from pathlib import Path

from broker.errors import ConfigurationError
from broker.keys.envelope import Envelope, load_kek
from broker.keys.provider import KeyProvider, KeyProviders
from broker.keys.sealed import SealedKeys
from broker.settings import Keys


def load_providers(keys: Keys, *, kek_file: Path | None = None) -> KeyProviders:
    """Return who makes keys, and who keeps those that were made before.

    ``kek_file`` stands for ``keys.kek_file`` beside an embedded database. Reads files and loads
    the library of a token; the token itself is asked later. Raises ``ConfigurationError``.
    """
    file = kek_file or keys.kek_file
    sealed = None if file is None else SealedKeys(load_envelope(keys, file))
    on_token = None if keys.pkcs11 is None else _load_token_keys(keys)
    wanted: list[KeyProvider | None] = [sealed, on_token]
    if keys.provider == "pkcs11":
        wanted.reverse()
    if wanted[0] is None:
        raise ConfigurationError("keys.kek_file: is needed to make keys with provider: postgresql")
    return KeyProviders(wanted[0], tuple(each for each in wanted[1:] if each is not None))


def load_envelope(keys: Keys, kek_file: Path) -> Envelope:
    """Return what opens sealed keys. Raises ``ConfigurationError``."""
    second = keys.second_kek_file
    others = () if second is None else (load_kek(second, setting="keys.second_kek_file"),)
    return Envelope(load_kek(kek_file), *others)


def _load_token_keys(keys: Keys) -> KeyProvider:
    # Native code, which nobody who has no token should have in the process.
    from broker.keys.pkcs11 import TokenKeys  # noqa: PLC0415 — see above
    from broker.keys.token import Token, TokenAddress  # noqa: PLC0415 — see above

    if keys.pkcs11 is None:  # not possible: the caller asked
        raise ConfigurationError("keys.pkcs11: is needed")
    address = keys.pkcs11
    return TokenKeys(Token(TokenAddress(address.module, address.token_label, address.pin_file)))
