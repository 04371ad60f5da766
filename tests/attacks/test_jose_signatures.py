"""Attack: change a signed token and keep its signature, or sign it as somebody else."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.jwts import (
    IDP,
    KEYS,
    OTHER,
    STRANGERS_KEY,
    b64url,
    b64url_decode,
    resigned,
    signature,
    unverified_claims,
    unverified_header,
)
from tests.places import ACCEPTED, ACTOR, CLIENT, SUBJECT, at_each_place

P384 = ec.generate_private_key(ec.SECP384R1())


def parts(token: str) -> list[str]:
    """Header, payload and signature, as they are in the token."""
    return token.split(".")


@pytest.mark.row("ATK-SIG-02", "CVE-2026-1529", "CVE-2026-48558")
@at_each_place
async def test_no_claim_can_be_changed_after_signing(place):
    """CVE-2026-1529: each claim of each kind, changed alone; and one added, one taken away."""
    token = place.make()
    header, _, signed = parts(token)
    claims = unverified_claims(token)
    changed = [claims | {name: f"{claims[name]}x"} for name in claims]
    changed += [{name: claims[name] for name in claims if name != gone} for gone in claims]
    changed += [claims | {"admin": True}, {}, dict(reversed(claims.items()))]
    forged = [f"{header}.{b64url(json.dumps(each).encode())}.{signed}" for each in changed]
    spaced = b64url(json.dumps(claims, indent=1).encode())
    forged.append(f"{header}.{spaced}.{signed}")

    outcomes = {await place.outcome(each) for each in forged}

    # A changed ``iss`` or ``sub`` is nobody that we know, before any key is tried.
    assert outcomes <= {
        place.reason("signature_invalid"),
        place.reason("issuer_unknown"),
        "client.unknown",
    }
    assert ACCEPTED == await place.outcome(token)


@pytest.mark.row("ATK-SIG-02")
@at_each_place
async def test_a_header_cannot_be_written_differently(place):
    """ATK-SIG-02: with spaces, in another order, with one parameter more."""
    token = place.make()
    _, payload, signed = parts(token)
    header = unverified_header(token)
    for other in (
        json.dumps(header, indent=1),
        json.dumps(dict(reversed(header.items())), separators=(",", ":")),
        json.dumps(header | {"foo": 1}, separators=(",", ":")),
    ):
        forged = f"{b64url(other.encode())}.{payload}.{signed}"

        assert place.reason("signature_invalid") == await place.outcome(forged)


@pytest.mark.row("ATK-SIG-02")
@at_each_place
async def test_a_signature_belongs_to_its_own_token(place):
    """ATK-SIG-02: payloads and signatures of two good tokens, exchanged."""
    one, other = place.make(), place.make()
    (h1, p1, s1), (h2, p2, s2) = parts(one), parts(other)

    for forged in (f"{h1}.{p1}.{s2}", f"{h1}.{p2}.{s1}", f"{h2}.{p2}.{s1}"):
        assert place.reason("signature_invalid") == await place.outcome(forged)


@pytest.mark.row("ATK-SIG-01", "ATK-SIG-02")
@at_each_place
async def test_every_bit_of_a_signature_counts(place):
    """ATK-SIG-02: each flipped alone."""
    token = place.make()
    head, _, signed = token.rpartition(".")
    raw = b64url_decode(signed)
    outcomes = set()
    for bit in range(0, len(raw) * 8, 3):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        outcomes.add(await place.outcome(f"{head}.{b64url(bytes(flipped))}"))

    assert {place.reason("signature_invalid")} == outcomes


@pytest.mark.row("CVE-2026-27840", "ATK-SIG-02")
@at_each_place
async def test_no_part_and_no_extension_of_a_token_is_valid(place):
    """CVE-2026-27840: every prefix, every suffix, and each character put behind it."""
    token = place.make()
    pieces = [token[:length] for length in range(0, len(token), 5)] + [token[:-1], token[1:]]
    pieces += [token[start:] for start in range(1, len(token), 5)]
    pieces += [token + more for more in ("A", "AA", "AAAA", "=", ".", " ", "\0", token)]

    assert ACCEPTED not in {await place.outcome(piece) for piece in pieces}
    assert ACCEPTED == await place.outcome(token)


@pytest.mark.row("ATK-SIG-02", "JW-09", "ATK-ISS-01")
@at_each_place
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(STRANGERS_KEY, id="a-strangers-key"),
        pytest.param(KEYS[OTHER], id="another-issuers-key"),
        pytest.param(P384, id="a-key-of-another-curve"),
    ],
)
async def test_only_the_parties_own_key_signs_for_it(place, key):
    """RFC 8725 §3.8: also when the header says it is the right one."""
    good = place.make()
    forged = resigned(good, lambda text: signature(text, key, "ES256"))

    assert place.reason("signature_invalid") == await place.outcome(forged)
    assert place.reason("key_unknown") == await place.outcome(
        place.make(key=key if key is not P384 else STRANGERS_KEY)
    )


@pytest.mark.row("ATK-TYP-01", "ATK-ISS-01")
async def test_a_token_is_good_at_its_own_place_only():
    """RFC 8725 §3.12: what one place takes is nothing at the two others."""
    tokens = {place.name: place.make() for place in (SUBJECT, ACTOR, CLIENT)}
    outcomes = {
        (made, place.name): await place.outcome(token)
        for made, token in tokens.items()
        for place in (SUBJECT, ACTOR, CLIENT)
    }
    # Of an actor token the audience is the broker, so the client that owns it may exchange it.
    accepted = {pair for pair, outcome in outcomes.items() if outcome == ACCEPTED}

    assert {(name, name) for name in tokens} | {("actor_token", "subject_token")} == accepted
    assert IDP in str(unverified_claims(tokens["subject_token"]))
