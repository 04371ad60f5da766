"""What every provider of private keys keeps to, whoever has them in hand. One suite over all."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime

import jwcrypto.jwk
import jwcrypto.jws
import jwt as pyjwt
import pytest

from broker.jose.algorithms import ALGORITHMS
from broker.jose.compact import parse_compact
from broker.jose.jwk import load_keys
from broker.jose.sign import sign_compact
from broker.jose.verify import verify_signature
from broker.keys.provider import (
    KeyProviders,
    ProviderUnavailable,
    SealedKey,
    StoredKey,
    TokenObject,
    Unopenable,
)
from broker.keys.rotation import KeyRecord, KeyState

SIGNED_WITH = ("ES256", "Ed25519", "EdDSA", "RS256")
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def token(key) -> str:
    return sign_compact(key, {"alg": key.algorithm, "kid": key.kid}, b'{"sub":"alice"}')


def row(key, custody) -> StoredKey:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    return StoredKey(KeyRecord(key.kid, key.algorithm, KeyState.ACTIVE, 1, at), custody)


@pytest.mark.parametrize("algorithm", SIGNED_WITH)
async def test_what_it_signs_verifies_with_what_it_publishes(make_provider, algorithm):
    """By our own verifier and by two libraries that signed nothing: R ‖ S, PKCS #1, RFC 8032."""
    key, _ = await make_provider().make(algorithm, ())
    text = token(key)
    ours = load_keys({"keys": [key.public_jwk]}, ALGORITHMS)
    jws = jwcrypto.jws.JWS()
    jws.allowed_algs = [algorithm, "EdDSA"]
    jws.deserialize(text)
    jws.verify(jwcrypto.jwk.JWK(**key.public_jwk))
    named = "EdDSA" if algorithm == "Ed25519" else algorithm
    head, _, _ = text.rpartition(".")
    signature = parse_compact(text).signature
    public = pyjwt.PyJWK(key.public_jwk, algorithm=named)

    assert {"sub": "alice"} == verify_signature(parse_compact(text), ours, [algorithm]).claims
    assert {"sub": "alice"} == json.loads(jws.payload)
    assert public.Algorithm.verify(head.encode(), public.key, signature)


@pytest.mark.row("JK-04", "OP-03")
@pytest.mark.parametrize("algorithm", SIGNED_WITH)
async def test_a_key_is_published_with_its_name_and_nothing_private(make_provider, algorithm):
    """RFC 7517 §4, RFC 7638 §3: ``kid`` is the thumbprint, beside ``use`` and ``alg``."""
    key, _ = await make_provider().make(algorithm, ())
    jwk = key.public_jwk
    thumbprint = jwcrypto.jwk.JWK(**{k: v for k, v in jwk.items() if k != "kid"}).thumbprint()

    assert (key.kid, "sig", algorithm) == (jwk["kid"], jwk["use"], jwk["alg"])
    assert thumbprint == key.kid
    assert not PRIVATE & set(jwk)
    assert all(part not in repr(key) for part in ("_key", "_token", "_id"))


@pytest.mark.parametrize("algorithm", SIGNED_WITH)
async def test_another_process_opens_what_one_has_made(make_provider, algorithm):
    """From what the row holds, and from nothing else; both sign as the same key."""
    key, custody = await make_provider().make(algorithm, ())
    again = await make_provider().open(custody, key.kid, algorithm)
    ours = load_keys({"keys": [key.public_jwk]}, ALGORITHMS)

    assert (key.kid, key.public_jwk) == (again.kid, again.public_jwk)
    assert {"sub": "alice"} == verify_signature(
        parse_compact(token(again)), ours, [algorithm]
    ).claims


async def test_no_two_keys_are_the_same(make_provider):
    """Also of one process, at once."""
    provider = make_provider()
    made = [await provider.make("ES256", ()) for _ in range(5)]

    assert 5 == len({key.kid for key, _ in made})
    assert 5 == len({str(vars_of(custody)) for _, custody in made})


def vars_of(custody) -> tuple:
    return tuple(getattr(custody, name) for name in custody.__slots__)


@pytest.mark.row("OP-03")
@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
async def test_a_key_of_another_row_does_not_open(make_provider, algorithm):
    """Custody and name belong together: swapping two rows opens neither."""
    provider = make_provider()
    one, its_custody = await provider.make(algorithm, ())
    other, _ = await provider.make(algorithm, ())
    with pytest.raises(Unopenable):
        await provider.open(its_custody, other.kid, algorithm)
    with pytest.raises(Unopenable):
        await provider.open(its_custody, one.kid, "ES256" if algorithm != "ES256" else "RS256")


async def test_what_is_destroyed_does_not_open_again(make_provider):
    """Its row is emptied; a token forgets it as well. Twice does no harm."""
    provider = make_provider()
    key, custody = await provider.make("ES256", ())
    await provider.destroy(custody)
    await provider.destroy(custody)
    emptied = SealedKey(b"", b"") if isinstance(custody, SealedKey) else custody
    with pytest.raises(Unopenable):
        await make_provider().open(emptied, key.kid, "ES256")


async def test_each_knows_its_own(make_provider):
    """A row of another provider's is nobody's who is not configured."""
    provider = make_provider()
    key, custody = await provider.make("ES256", ())
    foreign = TokenObject("00") if isinstance(custody, SealedKey) else SealedKey(b"", b"")

    assert (True, False) == (provider.keeps(custody), provider.keeps(foreign))
    for attempt in (provider.open, KeyProviders(provider).open):
        with pytest.raises(Unopenable):
            await attempt(foreign, key.kid, "ES256")


async def test_an_algorithm_that_nothing_is_signed_with_is_refused(make_provider):
    """Design §5: no other is made by mistake."""
    with pytest.raises(ValueError, match="nothing is signed"):
        await make_provider().make("HS256", ())


async def test_a_key_opens_beside_the_key_it_was_made_beside(make_provider):
    """A new key is kept as its neighbours are, so whoever opens these opens it."""
    key, custody = await make_provider().make("ES256", ())
    _, beside = await make_provider().make("RS256", (row(key, custody),))

    assert type(custody) is type(beside)


@pytest.mark.row("OP-03")
@pytest.mark.parametrize("algorithm", SIGNED_WITH)
async def test_a_private_key_cannot_be_read_out_of_a_token(make_token_keys, algorithm):
    """PKCS#11 §4.9: sensitive and never extractable since it was made there; the row has no key."""
    import pkcs11

    provider = make_token_keys()
    key, custody = await provider.make(algorithm, ())
    attributes = pkcs11.Attribute
    yes = ("SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "PRIVATE", "SIGN")
    secrets = ("VALUE", "PRIVATE_EXPONENT", "PRIME_1")

    def look(session):
        (private,) = session.native.get_objects(
            {
                attributes.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
                attributes.ID: bytes.fromhex(custody.reference),
            }
        )
        said = {name: private[getattr(attributes, name)] for name in yes}
        said["EXTRACTABLE"] = private[attributes.EXTRACTABLE]
        for name in secrets:
            with pytest.raises((pkcs11.AttributeSensitive, pkcs11.AttributeTypeInvalid)):
                private[getattr(attributes, name)]
        return said

    assert dict.fromkeys(yes, True) | {"EXTRACTABLE": False} == provider._token.run(look)
    assert {"reference"} == set(custody.__slots__)
    assert 32 == len(custody.reference)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(key)


async def test_a_lost_session_is_opened_again(make_token_keys):
    """A token that failed over or was restarted knows no handle of before; nobody notices."""
    provider = make_token_keys()
    key, _ = await provider.make("ES256", ())
    signed = key.sign(b"before")
    provider._token.run(lambda session: session.native.close())
    again = key.sign(b"after")
    provider._token.executor.submit(provider._token._restart).result()

    assert (64, 64, 64) == (len(signed), len(again), len(key.sign(b"and after a restart")))


async def test_a_key_that_is_gone_from_the_token_signs_nothing(make_token_keys):
    """Somebody deleted it there: an outage that is told, and no other key instead."""
    from broker.jose.sign import CannotSign

    provider = make_token_keys()
    key, custody = await provider.make("ES256", ())
    await make_token_keys().destroy(custody)
    with pytest.raises(CannotSign):
        key.sign(b"message")


async def test_a_token_that_hangs_is_given_up_in_time(make_token_keys):
    """Whoever waits is told; a signature that nobody waits for any more is not made."""
    from threading import Event

    from broker.jose.sign import CannotSign

    provider = make_token_keys()
    key, _ = await provider.make("ES256", ())
    provider._token._deadline = 0.1
    hang = Event()
    provider._token.executor.submit(hang.wait)
    with pytest.raises(CannotSign):
        key.sign(b"message")
    with pytest.raises(ProviderUnavailable):
        await provider.make("ES256", ())
    hang.set()
    provider._token._deadline = 5.0

    assert 64 == len(key.sign(b"message"))


async def test_a_private_key_beside_another_public_one_does_not_open(make_token_keys):
    """What is published is proved: an id that two pairs share opens as neither."""
    import pkcs11

    provider = make_token_keys()
    one, its_custody = await provider.make("ES256", ())
    _, other = await provider.make("ES256", ())
    ids = [bytes.fromhex(custody.reference) for custody in (its_custody, other)]

    def swap(session):
        find = session.native.get_objects
        public = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY}
        (mine,) = find(public | {pkcs11.Attribute.ID: ids[0]})
        (theirs,) = find(public | {pkcs11.Attribute.ID: ids[1]})
        mine[pkcs11.Attribute.ID] = b"parked"
        theirs[pkcs11.Attribute.ID] = ids[0]

    provider._token.run(swap)
    with pytest.raises(Unopenable, match="does not belong"):
        await make_token_keys().open(its_custody, one.kid, "ES256")


@pytest.mark.row("OP-03")
async def test_a_key_that_could_leave_the_token_does_not_open(make_token_keys):
    """Made by somebody else's tool and named in the table by hand: extractable, so not ours."""
    import pkcs11

    provider = make_token_keys()
    reference = b"0123456789abcdef"

    def make(session):
        session.native.generate_keypair(
            pkcs11.KeyType.RSA,
            2048,
            id=reference,
            label="foreign",
            store=True,
            private_template={
                pkcs11.Attribute.SENSITIVE: False,
                pkcs11.Attribute.EXTRACTABLE: True,
            },
        )

    provider._token.run(make)
    with pytest.raises(Unopenable, match="could be read out"):
        await provider.open(TokenObject(reference.hex()), "kid", "RS256")


@pytest.mark.parametrize(
    ("change", "raised", "said"),
    [
        pytest.param({"token_label": "absent"}, ProviderUnavailable, "labelled", id="no-token"),
        pytest.param({"module": "/dev/null"}, None, "keys.pkcs11.module", id="no-library"),
        pytest.param({"pin": "000000"}, None, "refuses the PIN", id="wrong-pin"),
        pytest.param({"pin": ""}, None, "is empty", id="empty-pin"),
        pytest.param({"mode": 0o644}, None, "everybody can read", id="open-pin"),
        pytest.param({"pin_file": "absent"}, None, "does not exist", id="no-pin-file"),
    ],
)
async def test_what_is_wrong_with_a_token_is_said_in_a_sentence(
    token_settings, tmp_path, change, raised, said
):
    """At the start, by the name of the key; and the PIN is nowhere in it."""
    from pathlib import Path

    from broker.errors import ConfigurationError
    from broker.keys.token import Token, TokenAddress

    settings = token_settings | {k: v for k, v in change.items() if k in token_settings}
    if "pin" in change or "mode" in change:
        pin_file = tmp_path / "pin"
        pin_file.write_text(change.get("pin", "123456"))
        pin_file.chmod(change.get("mode", 0o600))
        settings["pin_file"] = str(pin_file)
    address = TokenAddress(
        Path(settings["module"]), settings["token_label"], Path(settings["pin_file"])
    )
    with pytest.raises(raised or ConfigurationError, match=said) as caught:
        Token(address).check()

    assert "000000" not in str(caught.value)


async def test_a_refused_pin_is_not_tried_again(token_settings, tmp_path):
    """Tokens lock themselves after a few: one process asks once."""
    from pathlib import Path

    from broker.errors import ConfigurationError
    from broker.keys.token import Token, TokenAddress

    pin_file = tmp_path / "pin"
    pin_file.write_text("000000")
    pin_file.chmod(0o600)
    wrong = Token(
        TokenAddress(Path(token_settings["module"]), token_settings["token_label"], pin_file)
    )
    said = []
    for _ in range(12):
        with pytest.raises(ConfigurationError) as caught:
            wrong.check()
        said.append(str(caught.value))
    wrong.close()
    right = TokenAddress(
        Path(token_settings["module"]),
        token_settings["token_label"],
        Path(token_settings["pin_file"]),
    )
    token = Token(right)
    token.check()
    token.close()

    assert 2 == len(set(said))
    assert "has refused" in said[1]


def test_a_stored_key_shows_no_key_material():
    """OP-03: whatever prints it."""
    sealed = SealedKey(b"wrapped-key", b"wrapped-dek")

    assert "wrapped-" not in repr(sealed) + repr(replace(sealed))
