"""Which keys of a set are used, for what, and under which name. RFC 7517."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.jose.algorithms import ALGORITHMS
from broker.jose.errors import Malformed
from broker.jose.jwk import MAX_KEYS, MAX_TRIED, KeySet, load_keys, weaknesses
from broker.jose.sign import generate_signing_key
from tests.jwts import b64url, public_jwk

RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (
    ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
)
ED = ed25519.Ed25519PrivateKey.generate()
ALL = tuple(ALGORITHMS)


def loaded(*keys, algorithms=ALL) -> KeySet:
    """The usable keys of a set."""
    return load_keys({"keys": list(keys)}, algorithms)


def verifies(key, algorithms=ALL) -> list[str]:
    """The algorithms that a key is used with."""
    keys = loaded(key | {"kid": "k"}, algorithms=algorithms)
    return [name for name in ALGORITHMS if keys.candidates("k", name)]


@pytest.mark.row("JW-05", "JW-08", "JW-06")
@pytest.mark.parametrize(
    ("key", "alg", "expected"),
    [
        *((RSA, alg, [alg]) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (RSA, None, ["RS256"]),
        (P256, None, ["ES256"]),
        (P384, None, ["ES384"]),
        (P521, None, ["ES512"]),
        (P256, "ES256", ["ES256"]),
        (P256, "ES384", []),
        (P256, "ES512", []),
        (P384, "ES256", []),
        (P521, "ES512", ["ES512"]),
        (ED, None, ["Ed25519", "EdDSA"]),
        (ED, "Ed25519", ["Ed25519", "EdDSA"]),
        (ED, "EdDSA", ["Ed25519", "EdDSA"]),
        (ED, "ES256", []),
        (ED, "Ed448", []),
        (RSA, "ES256", []),
        (RSA, "RSA-OAEP", []),
        (RSA, "rs256", []),
        (P256, "HS256", []),
        (P256, "none", []),
        (P256, "", []),
        (P256, 1, []),
        (P256, ["ES256"], []),
        (P256, {}, []),
    ],
)
def test_a_key_has_one_algorithm(key, alg, expected):
    """RFC 8725 §3.1: its own, or the first that fits; two names of one count as one."""
    jwk = public_jwk(key) | ({} if alg is None else {"alg": alg})

    assert expected == verifies(jwk)


@pytest.mark.row("JW-05")
@pytest.mark.parametrize(
    ("key", "algorithms", "expected"),
    [
        (RSA, ["PS256", "RS512"], ["RS512"]),
        (RSA, ["PS256"], ["PS256"]),
        (RSA, ["ES256"], []),
        (P256, ["ES384"], []),
        (ED, ["EdDSA"], ["Ed25519", "EdDSA"]),
        (ED, ["ES256"], []),
        (RSA, [], []),
    ],
)
def test_an_algorithm_that_is_not_allowed_makes_no_key(key, algorithms, expected):
    """RFC 8725 §3.1: what an issuer may not use is not even loaded."""
    assert expected == verifies(public_jwk(key), algorithms)


@pytest.mark.row("ATK-KID-02", "JW-21")
def test_a_key_is_found_by_its_kid_and_algorithm_alone():
    """Promises §8: a set of one key does not forgive a wrong name."""
    keys = loaded(public_jwk(P256, kid="a"), public_jwk(RSA, kid="b", alg="RS256"))
    found = {
        (kid, alg): [key.kid for key in keys.candidates(kid, alg)]
        for kid in ("a", "b", "A", "a ", "", None)
        for alg in ("ES256", "RS256", "PS256", "HS256", "none")
    }

    assert {
        ("a", "ES256"): ["a"],
        ("b", "RS256"): ["b"],
        (None, "ES256"): ["a"],
        (None, "RS256"): ["b"],
    } == {pair: kids for pair, kids in found.items() if kids}


@pytest.mark.row("ATK-KID-02")
def test_without_a_kid_few_keys_are_candidates():
    """ATK-KID-02: the first of the set, in its order; keys without a name are tried too."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(MAX_TRIED + 3)]
    unnamed = [{n: v for n, v in public_jwk(key).items() if n != "kid"} for key in keys]

    assert MAX_TRIED == len(loaded(*unnamed).candidates(None, "ES256"))
    assert () == loaded(*unnamed).candidates("k", "ES256")
    assert frozenset() == loaded(*unnamed).kids


@pytest.mark.row("JW-19", "JW-20", "OP-03")
@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("key", [RSA, P256, ED], ids=["RSA", "EC", "OKP"])
def test_a_key_whose_private_part_is_published_is_anybody_s(name, key):
    """OP-03: also if what stands there is nonsense."""
    for value in ("AQAB", "", None, []):
        assert 0 == len(loaded(public_jwk(key, **{name: value})))


@pytest.mark.row("JW-19")
@pytest.mark.parametrize("kid", [None, "", 1, [], {}, True])
def test_a_kid_is_a_name_or_absent(kid):
    """RFC 7517 §4.5: null counts as absent, anything else that is no text spoils the key."""
    keys = loaded(public_jwk(P256) | {"kid": kid})

    assert (1 if kid is None else 0, frozenset()) == (len(keys), keys.kids)


@pytest.mark.row("JW-19", "ATK-SSRF-03")
@pytest.mark.parametrize(
    "document",
    [
        *(None, 1, "x", [], {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"KEYS": []}),
        {"keys": [{}] * (MAX_KEYS + 1)},
        {"keys": [{"kty": "oct", "k": "AA"}]},
        {"keys": [public_jwk(P256), {"kty": "oct"}]},
    ],
)
def test_what_is_no_set_is_malformed(document):
    """RFC 7517 §5: as text and as a value."""
    with pytest.raises(Malformed):
        load_keys(json.dumps(document).encode(), ALL)
    if not isinstance(document, int | str):
        with pytest.raises(Malformed):
            load_keys(document, ALL)


def test_a_set_is_read_from_its_text_as_from_its_value():
    """RFC 7517 §5: as a server answers it, and as the configuration holds it."""
    document = {"keys": [public_jwk(P256)], "more": 1}

    assert load_keys(document, ALL) == load_keys(json.dumps(document).encode(), ALL)
    assert 1 == len(load_keys(document, ALL))


@pytest.mark.row("JW-21", "JW-19", "ATK-DOS-01")
def test_a_set_has_at_most_a_hundred_keys():
    """ATK-SSRF-03: 10^6 keys are not read."""
    keys = [public_jwk(P256, kid=f"k{number}") for number in range(MAX_KEYS)]

    assert MAX_KEYS == len(loaded(*keys))


@pytest.mark.row("JW-21")
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_shared_kid_leaves_out_all_that_share_it(order):
    """RFC 7517 §4.5: in any order, of any type."""
    keys = [
        public_jwk(P256, kid="same"),
        public_jwk(RSA, kid="same", alg="RS256"),
        public_jwk(P384, kid="other"),
    ]

    assert {"other"} == loaded(*(keys[index] for index in order)).kids


@pytest.mark.row("JW-21")
def test_a_kid_shared_with_a_key_that_is_not_used_is_the_other_s_own():
    """RFC 7517 §5: what is left out is as if it were not there."""
    keys = loaded(public_jwk(P256, kid="k", use="enc"), public_jwk(P384, kid="k"))

    assert ["ES384"] == [key.algorithm.name for key in keys.keys]


def test_a_key_shows_its_name_and_not_its_numbers():
    """Style §4: and two loads of one key are equal."""
    one, other = (loaded(public_jwk(P256, kid="k")).keys[0] for _ in range(2))

    assert one == other
    assert public_jwk(P256)["x"] not in repr(one)
    assert "ECKey" not in repr(one)


def test_each_weakness_is_named_for_whoever_configures_the_set():
    """``broker doctor``: what is left out or guessed, in the order of the set."""
    keys = [
        public_jwk(P256, kid="good", alg="ES256"),
        public_jwk(RSA, kid="rsa"),
        public_jwk(P384, kid=None),
        public_jwk(P256, kid="twice"),
        public_jwk(P384, kid="twice"),
        public_jwk(ED, use="enc"),
        {"kty": "EC", "crv": "P-256", "x": "A"},
        "x",
    ]
    found = weaknesses({"keys": keys})

    assert 6 == len(found)
    assert [
        "key 2 has no alg",
        "key 3 has no kid",
        "key 6 is not used",
        "key 7 is not used",
        "key 8 is not used",
        "several keys have the kid 'twice'",
    ] == [
        sentence[: len(start)]
        for sentence, start in zip(
            found,
            [
                "key 2 has no alg",
                "key 3 has no kid",
                "key 6 is not used",
                "key 7 is not used",
                "key 8 is not used",
                "several keys have the kid 'twice'",
            ],
            strict=True,
        )
    ]
    assert ["not a JWK set: there is no list of keys"] == weaknesses({})
    assert [] == weaknesses({"keys": [public_jwk(P256, alg="ES256")]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**64 - 1) | st.text(max_size=6),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=4), children, max_size=2)
    ),
    max_leaves=4,
)
members = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d", "k"]),
    json_values
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "ES256", "verify"])
    | st.binary(max_size=66).map(b64url),
    max_size=8,
)


@pytest.mark.row("JW-19", "JW-08", "ATK-SSRF-03")
@settings(max_examples=200, deadline=None)
@given(base=st.sampled_from([RSA, P256, P384, P521, ED, None]), changes=members, others=json_values)
def test_no_key_of_any_form_spoils_the_set(base, changes, others):
    """RFC 7517 §5: whatever it is, it is used or left out, and the good one stays."""
    good = public_jwk(ED, kid="the good one")
    key = ({} if base is None else public_jwk(base)) | changes
    try:
        keys = loaded(others, key, good)
    except Malformed:
        assert "oct" in {key.get("kty"), others.get("kty") if isinstance(others, dict) else None}
        return
    assert "the good one" in keys.kids
    weaknesses({"keys": [others, key]})


@given(
    st.binary(max_size=80) | st.text(st.sampled_from('{}[]":keys,kty'), max_size=40).map(str.encode)
)
def test_any_bytes_are_a_set_or_malformed(data):
    """No other exception, whatever a server answers."""
    try:
        keys = load_keys(data, ALL)
    except Malformed:
        return
    assert 0 == len(keys)


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_our_own_published_keys_are_ones_that_we_would_take(algorithm):
    """JK-01: named, for signatures, with one algorithm and nothing to remark."""
    jwk = generate_signing_key(algorithm).public_jwk

    assert [] == weaknesses({"keys": [jwk]})
    assert [algorithm] == [key.algorithm.name for key in loaded(jwk).keys]
