"""A bundle is signed by whom it should be, whole and unchanged; what ``opa`` signs is read too."""

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.jose.errors import Malformed
from broker.jose.pem import load_private_pem
from broker.jose.sign import sign_compact
from broker.policy.bundle import build_bundle, find_opa, load_bundle, read_bundle, render_archive
from broker.policy.compiler import run_opa
from broker.policy.load import load_configured
from broker.policy.signature import (
    SIGNATURES,
    SignatureRefused,
    load_verification,
    sign_files,
    verify_files,
)
from broker.settings import Policy, Verification
from tests.signing import Pair, make_pair

PAIR, STRANGER = make_pair("ES256"), make_pair("ES256")
FILES = {"data.json": b'{"a": 1}', "policy.wasm": b"\0asm", ".manifest": b"{}"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
POLICY = 'package broker.exchange\n\ndecision := {"allow": data.broker.facts.open}\n'
# Whatever two writers of JSON could write differently.
FACTS = '{"open": false, "t": "<é\\u2028\\u0007\\b\\f\\"\\\\/>\\u007f", "n": [1.50, 1e3, -0, null]}'


def signed(files: dict[str, bytes] = FILES, pair: Pair = PAIR, **named: str) -> dict[str, bytes]:
    """These files with a signature of them."""
    return files | {SIGNATURES: sign_files(files, pair.signer(**named))}


def claimed(claims: object, header: dict[str, str] | None = None) -> dict[str, bytes]:
    """The files with a signature that says this."""
    head = {"alg": "ES256", "kid": "default", "typ": "JWT"} if header is None else header
    token = sign_compact(load_private_pem(PAIR.private), head, orjson.dumps(claims))
    return FILES | {SIGNATURES: orjson.dumps({"signatures": [token]})}


def refusal(files: dict[str, bytes], **named: str) -> str:
    """Why it is refused."""
    with pytest.raises(SignatureRefused) as caught:
        verify_files(files, PAIR.verification(**named))
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_what_was_signed_is_verified(algorithm):
    """Each kind of key that ``broker policy build`` takes."""
    pair = make_pair(algorithm)

    verify_files(signed(pair=pair), pair.verification())


LISTED = {"name": "data.json", "hash": "00", "algorithm": "SHA-256"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(FILES, "not signed", id="unsigned"),
        pytest.param(signed(pair=STRANGER), "not of the configured key", id="strangers-key"),
        pytest.param(signed() | {"data.json": b'{"a": 2}'}, "not what was signed", id="changed"),
        pytest.param(signed() | {"x.rego": b""}, "not among the files", id="added"),
        pytest.param(
            {name: text for name, text in signed().items() if name != "policy.wasm"},
            "is not there",
            id="taken-away",
        ),
        pytest.param(signed(scope="other"), "another scope", id="scope"),
        pytest.param(signed(key_id="other"), "another key_id", id="key-id"),
        pytest.param(FILES | {SIGNATURES: b"{}"}, "something else", id="no-signatures"),
        pytest.param(
            FILES | {SIGNATURES: b'{"signatures": []}'}, "something else", id="empty-signatures"
        ),
        pytest.param(
            FILES | {SIGNATURES: b'{"signatures": ["a", "b"]}'}, "something else", id="two"
        ),
        pytest.param(
            FILES | {SIGNATURES: b'{"signatures": ["x"], "plugin": "mine"}'},
            "something else",
            id="plugin",
        ),
        pytest.param(FILES | {SIGNATURES: b"\xff"}, "not JSON", id="not-json"),
        pytest.param(
            FILES | {SIGNATURES: b'{"signatures": ["a.b.c"]}'}, "configured key", id="not-a-jws"
        ),
        pytest.param(claimed({}), "lists no files", id="no-files"),
        pytest.param(claimed({"files": []}), "lists no files", id="empty-files"),
        pytest.param(claimed({"files": [{"name": "x"}]}), "without name", id="no-hash"),
        pytest.param(claimed({"files": [LISTED, LISTED]}), "twice", id="listed-twice"),
        pytest.param(
            claimed({"files": [LISTED | {"algorithm": "MD5"}]}), "digests are not by", id="md5"
        ),
        pytest.param(
            claimed({"files": [LISTED | {"algorithm": "SHA-1"}]}), "digests are not by", id="sha-1"
        ),
        pytest.param(
            claimed({"files": [{**LISTED, "name": 1}]}), "not by its name", id="name-is-no-string"
        ),
    ],
)
def test_what_is_not_signed_as_it_must_be_is_refused(files, said):
    """Each way to bring other rules under somebody's name, told in a sentence."""
    assert said in refusal(files, key_id="default")


def test_no_algorithm_but_the_configured_one_counts():
    """Attack: a signature by HMAC over the public key, or by none at all (RFC 8725 §2.1)."""
    token = json.loads(signed()[SIGNATURES])["signatures"][0]
    payload = token.split(".")[1]
    forged = [
        f"eyJhbGciOiJub25lIn0.{payload}.AA",
        f"eyJhbGciOiJIUzI1NiJ9.{payload}.AA",
    ]

    for each in forged:
        files = FILES | {SIGNATURES: orjson.dumps({"signatures": [each]})}
        assert "not of the configured key" in refusal(files)


@given(JSON)
def test_json_is_signed_by_what_it_says_and_not_by_how_it_is_written(value):
    """Spaces and the order of members may change on the way; nothing else may."""
    again = json.dumps(value, indent=2, ensure_ascii=True).encode()
    files = {"data.json": json.dumps(value, ensure_ascii=False).encode()}
    try:
        made = signed(files)
    except SignatureRefused:
        return  # a string or a number that not every reader understands alike
    verify_files(made | {"data.json": again}, PAIR.verification())

    other = json.dumps([value]).encode()
    with pytest.raises(SignatureRefused, match="not what was signed"):
        verify_files(made | {"data.json": other}, PAIR.verification())


def test_a_number_is_what_is_written():
    """``1.0`` and ``1`` are two texts to ``opa``, and so they are here."""
    made = signed({"data.json": b"1.0"})

    with pytest.raises(SignatureRefused, match="not what was signed"):
        verify_files(made | {"data.json": b"1"}, PAIR.verification())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of one rule and awkward facts."""
    folder = tmp_path_factory.mktemp("signed") / "policies"
    (folder / "broker" / "exchange").mkdir(parents=True)
    (folder / "broker" / "facts").mkdir()
    (folder / "broker" / "exchange" / "decision.rego").write_text(POLICY)
    (folder / "broker" / "facts" / "data.json").write_text(FACTS)
    return folder


def opa(folder: Path, *arguments: str) -> str:
    """Run it, and return what it says when it refuses."""
    ended = run_opa(find_opa(), arguments, folder=folder)
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_a_bundle_that_opa_signed_loads_here(folder, tmp_path, algorithm):
    """``opa build --signing-key``: its digests, its header and its deprecated claim."""
    pair = make_pair(algorithm)
    private, _ = pair.write(tmp_path)
    built = tmp_path / "bundle.tar.gz"
    said = opa(
        folder,
        *("build", "-t", "wasm", "-e", "broker/exchange/decision", "-b", ".", "-o", str(built)),
        *("--signing-key", str(private), "--signing-alg", algorithm),
    )

    assert "" == said
    assert load_bundle(built).revision == load_bundle(built, pair.verification("default")).revision
    with pytest.raises(ConfigurationError, match="not of the configured key"):
        load_bundle(built, make_pair(algorithm).verification())


@pytest.mark.parametrize("engine", ["wasm", "opa"])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_bundle_that_was_signed_here_is_one_to_opa(folder, tmp_path, algorithm, engine):
    """``opa`` verifies it with the same key, and refuses it with another one."""
    pair = make_pair(algorithm)
    private, public = pair.write(tmp_path)
    signed_here = tmp_path / "signed.tar.gz"
    signed_here.write_bytes(render_archive(build_bundle(folder), engine, pair.signer("mine")))
    arguments = (
        *("build", "-b", str(signed_here), "-o", str(tmp_path / "again.tar.gz")),
        *("--signing-key", str(private), "--signing-alg", algorithm),
        *("--verification-key-id", "mine", "--verification-key", str(public)),
    )

    assert "" == opa(tmp_path, *arguments)
    make_pair(algorithm).write(tmp_path)
    assert "failed to verify JWT signature" in opa(tmp_path, *arguments)


def test_a_broken_signature_is_found_before_anything_is_compiled(folder):
    """Whoever cannot sign cannot make the compiler read anything."""
    packed = render_archive(build_bundle(folder), "wasm", STRANGER.signer())

    with pytest.raises(ConfigurationError, match="the new one: its signature is not of the"):
        read_bundle(packed, "the new one", PAIR.verification())


def test_a_folder_does_not_do_where_signatures_are_asked_for(folder, tmp_path):
    """Required is required: also of what stands on the broker's own disk."""
    _, public = PAIR.write(tmp_path)
    verification = Verification(key_file=public, algorithm="ES256")

    with pytest.raises(ConfigurationError, match="broker policy build --signing-key"):
        load_configured(Policy(path=folder, verification=verification))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(PAIR.private, "not a public key", id="private-key"),
        pytest.param(b"", "not a public key", id="empty"),
        pytest.param(make_pair("RS256").public, "does not fit", id="another-kind"),
    ],
)
def test_a_key_that_cannot_verify_is_refused_at_the_start(tmp_path, content, said):
    """And not when a bundle comes, which then nobody could activate."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=said) as caught:
        load_verification(Verification(key_file=path, algorithm="ES256"))
    assert "PRIVATE" not in str(caught.value)


def test_a_weak_key_signs_and_verifies_nothing(tmp_path):
    """RSA of 1024 bits: whoever reads the public key makes the private one."""
    weak = make_pair("RS256", bits=1024)
    _, public = weak.write(tmp_path)

    with pytest.raises(Malformed, match="less than 2048"):
        load_private_pem(weak.private)
    with pytest.raises(ConfigurationError, match="2048"):
        load_verification(Verification(key_file=public, algorithm="RS256"))


def test_yaml_is_refused_where_signatures_are_asked_for():
    """``opa`` hashes what it reads of it, and there is more than one reader of YAML."""
    with pytest.raises(SignatureRefused, match="is YAML"):
        signed({"b/data.yaml": b"a: 1"})
