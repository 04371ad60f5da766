"""Every vector of ``tests/vectors/jws.json`` gets its verdict."""

import json
from collections import Counter

import pytest

from broker.jose.compact import parse_compact
from broker.jose.errors import (
    AlgorithmNotAllowed,
    JoseError,
    KeyUnknown,
    Malformed,
    SignatureInvalid,
)
from broker.jose.jwk import load_keys
from broker.jose.verify import verify_signature
from tests.vectors import make_jws

VECTORS = json.loads(make_jws.FILE.read_text("utf-8"))

# What refuses each class: a vector that fails for another reason shows nothing.
REFUSED_BY = {
    "good": {type(None)},
    "ecdsa-values": {SignatureInvalid},
    "ecdsa-encodings": {SignatureInvalid},
    "ed25519-signatures": {SignatureInvalid},
    "ed25519-keys": {KeyUnknown},
    "rsa-signatures": {SignatureInvalid},
    "rsa-keys": {KeyUnknown},
    "texts": {Malformed},
    "headers": {Malformed, AlgorithmNotAllowed, KeyUnknown},
    "payloads": {Malformed},
    "keys": {KeyUnknown, Malformed, SignatureInvalid},
}


def error(vector: dict) -> JoseError | None:
    """What the seam says; an exception that is not its own fails the test."""
    try:
        keys = load_keys({"keys": vector["keys"]}, vector["algorithms"])
        verify_signature(parse_compact(vector["jws"]), keys, vector["algorithms"])
    except JoseError as found:
        return found
    return None


@pytest.mark.row(
    *("JW-01", "JW-02", "JW-03", "JW-06", "JW-07", "JW-08", "JW-13", "JW-20", "JW-21", "JW-22"),
    *("ATK-SIG-01", "ATK-ALG-01", "ATK-HDR-02", "ATK-JSON-01"),
    *("CVE-2025-65015", "CVE-2026-28802", "CVE-2026-48990", "CVE-2025-59420", "CVE-2026-32597"),
)
@pytest.mark.parametrize(
    "vector", [pytest.param(each, id=f"{each['id']}-{each['class']}") for each in VECTORS]
)
def test_a_vector_gets_its_verdict(vector):
    """RFC 8725 §3: one fault is enough, and an honest one passes."""
    found = error(vector)

    assert vector["valid"] == (found is None), vector["comment"]
    assert type(found) in REFUSED_BY[vector["class"]], vector["comment"]
    # CVE-2025-65015: no text of a token gets into a log by way of an exception.
    assert len(str(found)) < 256
    assert "https://" not in str(found)


def test_the_vectors_are_those_that_the_script_makes():
    """The file is made, not edited: a second run gives the same bytes."""
    assert make_jws.FILE.read_text("utf-8") == make_jws.render()


def test_no_class_of_fault_has_lost_its_vectors():
    """How many there are of each class: a generator that yields nothing would pass all."""
    assert {
        "good": 9,
        "ecdsa-values": 48,
        "ecdsa-encodings": 15,
        "ed25519-signatures": 10,
        "ed25519-keys": 19,
        "rsa-signatures": 14,
        "rsa-keys": 14,
        "texts": 36,
        "headers": 62,
        "payloads": 33,
        "keys": 37,
    } == Counter(vector["class"] for vector in VECTORS)
