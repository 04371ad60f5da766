"""What becomes of a policy folder: compiled whole and repeatably, or refused by file and line."""

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.policy.bundle import (
    Bundle,
    build_bundle,
    find_opa,
    load_bundle,
    render_archive,
)
from broker.policy.snapshot import take_snapshot

STOCK = Path(__file__).parents[3] / "policies"
ALLOWING = 'package broker.exchange\n\ndecision := {"allow": data.broker.grants.open}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy of one rule and one fact."""
    folder = tmp_path / "policies"
    (folder / "broker" / "exchange").mkdir(parents=True)
    (folder / "broker" / "grants").mkdir()
    (folder / ".manifest").write_text('{"roots": ["broker"], "rego_version": 1}')
    (folder / "broker" / "exchange" / "decision.rego").write_text(ALLOWING)
    (folder / "broker" / "grants" / "data.yaml").write_text("open: true\n")
    return folder


def write_rule(folder: Path, text: str) -> Path:
    """Put a further rule beside the decision."""
    path = folder / "broker" / "exchange" / "further.rego"
    path.write_text(f"package broker.exchange\n\n{text}\n")
    return path


def refusal(folder: Path) -> str:
    """What is said when the folder cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        build_bundle(folder)
    return str(caught.value)


def archive(files: dict[str, bytes]) -> bytes:
    """A bundle file with these members, whatever they are."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def members(packed: bytes) -> dict[str, bytes]:
    """The files of a bundle."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}


def loaded(path: Path, packed: bytes) -> Bundle:
    """What becomes of these bytes when they are the configured bundle."""
    path.write_bytes(packed)
    return load_bundle(path)


def test_the_same_files_have_one_revision_wherever_they_are(folder: Path, tmp_path: Path):
    """Path, times, tests and comments of schemas are no part of a policy."""
    elsewhere = tmp_path / "another place" / "deeper" / "rules"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "broker" / "exchange" / "decision_test.rego").write_text("package x_test\n")
    (elsewhere / "schemas").mkdir()
    (elsewhere / "schemas" / "input.json").write_text("{}")
    first, second = build_bundle(folder), build_bundle(elsewhere)

    assert first == second
    assert render_archive(first, "wasm") == render_archive(second, "wasm")
    assert render_archive(first, "opa") == render_archive(second, "opa")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("broker/grants/data.yaml", "open: false\n", id="data"),
        pytest.param(
            "broker/exchange/decision.rego", ALLOWING.replace("open", "closed"), id="rule"
        ),
    ],
)
def test_another_policy_has_another_revision(folder: Path, name: str, text: str):
    """Facts decide as much as rules do."""
    before = build_bundle(folder)
    (folder / name).write_text(text)

    assert before.revision != build_bundle(folder).revision


def test_a_revision_is_a_digest_and_what_it_names_is_not_printed(folder: Path):
    """It stands in every audit row; grants may name who deals with whom."""
    bundle = build_bundle(folder)

    assert 64 == len(bundle.revision)
    assert f"Bundle(revision='{bundle.revision}')" == repr(bundle)


def test_a_built_bundle_loads_as_what_it_was(folder: Path, tmp_path: Path):
    """The same revision, module, data and rules, without opa."""
    bundle = build_bundle(folder)
    again = loaded(tmp_path / "bundle.tar.gz", render_archive(bundle, "wasm"))

    assert (bundle.revision, bundle.wasm, bundle.data) == (again.revision, again.wasm, again.data)
    assert bundle.modules == again.modules


def test_a_server_gets_the_rules_and_the_revision_but_no_module(folder: Path):
    """Builds of OPA that cannot run WebAssembly refuse a bundle that has it."""
    bundle = build_bundle(folder)
    files = members(render_archive(bundle, "opa"))

    assert {"/.manifest", "/data.json", "/broker/exchange/decision.rego"} == set(files)
    assert ALLOWING.encode() == files["/broker/exchange/decision.rego"]
    assert bundle.revision == json.loads(files["/.manifest"])["revision"]


@pytest.mark.row("OP-11")
@pytest.mark.parametrize(
    ("call", "name"),
    [
        pytest.param("time.now_ns()", "time.now_ns", id="clock"),
        pytest.param('http.send({"method": "get", "url": "http://x"})', "http.send", id="network"),
        pytest.param('rand.intn("x", 9)', "rand.intn", id="randomness"),
        pytest.param('uuid.rfc4122("x")', "uuid.rfc4122", id="random-names"),
        pytest.param("opa.runtime()", "opa.runtime", id="environment"),
        pytest.param('sprintf("%d", [3])', "sprintf", id="formatting-of-the-host"),
    ],
)
def test_a_built_in_that_the_host_lacks_is_refused_by_name(folder: Path, call: str, name: str):
    """Design §6: when the bundle is built, with file and line, never at decision time."""
    write_rule(folder, f"fact := {call}")
    rule = folder / "broker" / "exchange" / "decision.rego"
    rule.write_text(ALLOWING.replace("data.broker.grants.open", "fact"))
    said = refusal(folder)

    assert f"calls what a policy has not got here: {name}\n" in said
    assert f"{folder}/broker/exchange/further.rego:3: " in said


def test_a_built_in_is_refused_in_a_built_bundle_too(folder: Path, tmp_path: Path, opa: Path):
    """Whoever built it: ``opa build`` has nothing against it."""
    rule = folder / "broker" / "exchange" / "decision.rego"
    rule.write_text(ALLOWING.replace("data.broker.grants.open", "time.now_ns()"))
    built = tmp_path / "bundle.tar.gz"
    command = [opa, "build", "-t", "wasm", "-e", "broker/exchange/decision", "-o", built, "-b", "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)

    with pytest.raises(ConfigurationError, match=r"has not got here: time\.now_ns"):
        load_bundle(built)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("x := (", "further.rego:4: rego_parse_error", id="does-not-parse"),
        pytest.param("x := nobody", "further.rego:3: rego_unsafe_var_error", id="unsafe"),
        pytest.param("x := no.such(1)", "further.rego:3: rego_type_error", id="no-such-function"),
        pytest.param('x if "a" == 1', "further.rego:3: rego_type_error", id="types"),
    ],
)
def test_what_does_not_compile_is_named_by_file_and_line(folder: Path, text: str, said: str):
    """As the operator knows the file, not as a copy of it."""
    write_rule(folder, text)

    assert f"{folder}/broker/exchange/{said}" in refusal(folder)


def test_data_that_does_not_parse_is_named_by_its_file(folder: Path):
    """YAML with a mistake in it."""
    path = folder / "broker" / "grants" / "data.yaml"
    path.write_text("open: a: b\n")

    assert str(path) in refusal(folder)


def test_a_folder_without_the_decision_is_refused(folder: Path):
    """A policy that decides something else decides nothing here."""
    rule = folder / "broker" / "exchange" / "decision.rego"
    rule.write_text(ALLOWING.replace("decision", "verdict"))

    assert "broker/exchange/decision" in refusal(folder)


def test_a_folder_without_rules_is_refused(tmp_path: Path):
    """A misspelt path must not become an empty policy."""
    assert f"policy.path: {tmp_path} holds no policy (*.rego)" == refusal(tmp_path)


def test_no_folder_is_refused(tmp_path: Path):
    """Named as it was configured."""
    assert f"policy.path: {tmp_path / 'x'} is no folder" == refusal(tmp_path / "x")


@pytest.mark.row("DRILL-5")
@pytest.mark.parametrize(
    ("packed", "said"),
    [
        pytest.param(b"", "is no bundle", id="empty"),
        pytest.param(b"\x00asm\x01\x00\x00\x00", "Not a gzip", id="no-archive"),
        pytest.param(gzip.compress(b"x" * 2000), "is no bundle", id="no-tar"),
        pytest.param(archive({}), "is no bundle: no 'data.json' in it", id="nothing-in-it"),
        pytest.param(archive({"data.json": b"{}"}), "holds no policy.wasm", id="no-module"),
        pytest.param(
            archive({"data.json": b"[]", "policy.wasm": b""}), "is no object", id="data-no-object"
        ),
        pytest.param(
            archive({"data.json": b"{", "policy.wasm": b""}), "is no bundle", id="data-no-json"
        ),
        pytest.param(
            archive({"data.json": b"{}", "policy.wasm": b"\0asm"}), "invalid", id="broken-module"
        ),
        pytest.param(
            archive({"data.json": b"{}", "policy.wasm": b"\0asm\1\0\0\0"}),
            "not an OPA policy",
            id="another-module",
        ),
    ],
)
def test_a_broken_bundle_is_refused(tmp_path: Path, packed: bytes, said: str):
    """Drill 5: the broker does not start with it, and a running one keeps what it has."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        loaded(tmp_path / "bundle.tar.gz", packed)

    assert str(caught.value).startswith(f"policy.path: {tmp_path / 'bundle.tar.gz'}")


def test_a_bundle_cut_short_is_refused(folder: Path, tmp_path: Path):
    """A copy that was interrupted."""
    packed = render_archive(build_bundle(folder), "wasm")

    for length in range(0, len(packed), len(packed) // 20):
        with pytest.raises(ConfigurationError):
            loaded(tmp_path / "bundle.tar.gz", packed[:length])


def test_a_bundle_that_was_changed_is_refused(folder: Path, tmp_path: Path):
    """It says in its manifest what it was when it was built."""
    files = members(render_archive(build_bundle(folder), "wasm"))
    files["/data.json"] = files["/data.json"].replace(b"true", b"false")

    with pytest.raises(ConfigurationError, match="was changed after it was built"):
        loaded(tmp_path / "bundle.tar.gz", archive(files))


def test_a_bundle_that_does_not_end_is_refused(tmp_path: Path):
    """Megabytes of zeros are small when packed."""
    with pytest.raises(ConfigurationError, match="larger than"):
        loaded(tmp_path / "bundle.tar.gz", archive({"data.json": b" " * (33 << 20)}))


def test_opa_is_what_the_environment_names(tmp_path: Path):
    """BROKER_OPA, then PATH, then the checkout."""
    named, on_path = tmp_path / "named", tmp_path / "opa"
    for program in (named, on_path):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

    assert named == find_opa({"BROKER_OPA": str(named), "PATH": str(tmp_path)})
    assert on_path == find_opa({"PATH": str(tmp_path)})


def test_an_opa_that_is_named_and_not_there_is_an_error(tmp_path: Path):
    """Another one instead would be a surprise."""
    with pytest.raises(ConfigurationError, match="BROKER_OPA"):
        find_opa({"BROKER_OPA": str(tmp_path / "opa")})


def test_a_compiler_that_does_not_end_is_ended(folder: Path, tmp_path: Path):
    """Bounded in time, whatever the folder holds."""
    slow = tmp_path / "opa"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)

    with pytest.raises(ConfigurationError, match=r"longer than 0\.2 s"):
        build_bundle(folder, opa=slow, deadline=0.2)


def test_the_compiler_sees_nothing_of_our_environment(folder: Path, tmp_path: Path, monkeypatch):
    """There are secrets in it."""
    spy = tmp_path / "opa"
    spy.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\nexit 1\n")
    spy.chmod(0o755)
    monkeypatch.setenv("BROKER_SECRET", "canary")

    with pytest.raises(ConfigurationError):
        build_bundle(folder, opa=spy)
    assert "canary" not in (tmp_path / "seen").read_text()


def test_the_stock_policy_compiles():
    """Without one built-in of the host."""
    assert build_bundle(STOCK).wasm


@pytest.mark.row("CVE-2026-9792")
@pytest.mark.parametrize(
    ("package", "asked"),
    [
        pytest.param("broker.rules.hours", True, id="directly-below"),
        pytest.param('broker.rules["office hours"]', True, id="quoted"),
        pytest.param("broker.rules.team.hours", False, id="nested"),
        pytest.param('broker.rules["team"].hours', False, id="nested-behind-quotes"),
        pytest.param("broker.rules", False, id="not-below"),
        pytest.param("broker.ruleset.a.b", True, id="another-name"),
    ],
)
def test_a_rule_that_would_not_be_asked_is_refused(folder: Path, package: str, *, asked: bool):
    """A package that silently denies nothing is a stage that is skipped: named by file and line."""
    (folder / "broker" / "rules").mkdir()
    path = folder / "broker" / "rules" / "own.rego"
    path.write_text(f'# Ours.\npackage {package}\n\ndeny contains "policy.denied"\n')
    if asked:
        take_snapshot(folder)
    else:
        assert f"{path}:2:" in refusal(folder)
