"""A policy that is compiled: built from a folder, or loaded from a file that was built before.

What holds of a ``Bundle``:

(1) it was compiled from one snapshot of the folder, whatever was written meanwhile;
(2) it decides ``broker/exchange/decision``, and ``broker/proxy/decision`` if its folder has that
    package: a policy without it allows the token proxy nothing;
(3) it needs no built-in of its host. None is provided, not even the harmless ``sprintf``: two
    implementations of one function are two policies. So ``time.now_ns``, ``http.send``,
    ``rand.intn`` and their like are refused by name when the bundle is built, never when somebody
    waits for a decision, and the same input gets the same decision for good (OP-11);
(4) its revision is the SHA-256 of all that decides: WebAssembly and data. The same files have the
    same revision on every machine with the same ``opa``.

A bundle for an OPA server holds what was compiled, as Rego, under the same revision: so an audit
row names the same policy whichever engine decided.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from opapywasm.errors import OpaWasmError

from broker.errors import ConfigurationError
from broker.policy.archive import MAX_ARCHIVE, ArchiveInvalid, pack, unpack
from broker.policy.compiler import DEADLINE, compile_bundle, find_calls, find_opa
from broker.policy.engine import ENTRYPOINT, PROXY_ENTRYPOINT
from broker.policy.guest import MAX_DATA, compile_module, read_metadata
from broker.policy.signature import (
    SIGNATURES,
    SignatureRefused,
    Signer,
    Verification,
    sign_files,
    verify_files,
)
from broker.policy.snapshot import Snapshot, take_snapshot, write_snapshot

__all__ = ["Bundle", "build_bundle", "find_opa", "load_bundle", "read_bundle", "render_archive"]

_WASM: Final = "policy.wasm"
_DATA: Final = "data.json"
_MANIFEST: Final = ".manifest"
_PROXY_PACKAGE: Final = re.compile(
    rb"^\s*package\s+(?:data\.)?broker\.proxy\s*(?:#.*)?$", re.MULTILINE
)
_SEAL: Final = "broker.revision"  # in the manifest's metadata: only what we built has it


@dataclass(frozen=True, slots=True)
class Bundle:
    """A compiled policy."""

    revision: str  # SHA-256 in lower-case hex
    wasm: bytes = field(repr=False)
    data: bytes = field(repr=False)  # a JSON object
    # The Rego by path, for whoever explains. Loaded, it is what was packed beside what decides, and
    # no part of the revision; an older file has none.
    modules: Mapping[str, bytes] = field(repr=False)


def build_bundle(folder: Path, *, opa: Path | None = None, deadline: float = DEADLINE) -> Bundle:
    """Compile a policy folder. Blocks for some tenths of a second, at most ``deadline`` seconds.

    Raises ``ConfigurationError`` that names file and line, or the built-in.
    """
    compiler = find_opa() if opa is None else opa
    snapshot = take_snapshot(folder)
    with tempfile.TemporaryDirectory(prefix="broker-policy-") as name:
        root, archive = Path(name, "root"), Path(name, "bundle.tar.gz")
        write_snapshot(snapshot, root)
        compile_bundle(compiler, root, archive, _entrypoints(snapshot), folder, deadline=deadline)
        modules = {name: text for name, text in snapshot.items() if name.endswith(".rego")}
        shown = f"policy.path: {folder}"
        bundle, _ = _read(_unpack(_read_file(archive), shown), shown, modules)
        missing = _missing_builtins(bundle, shown)
        if missing:
            raise _refuse_builtins(missing, shown, find_calls(compiler, root, missing, folder))
    return bundle


def load_bundle(path: Path, verification: Verification | None = None) -> Bundle:
    """Load a bundle that ``broker policy build``, or ``opa build -t wasm``, has made.

    Raises ``ConfigurationError``, also if it is not what it was when it was built, or is not
    signed as ``verification`` demands.
    """
    return read_bundle(_read_file(path), f"policy.path: {path}", verification)


def read_bundle(content: bytes, shown: str, verification: Verification | None = None) -> Bundle:
    """Return the bundle in these bytes, as ``load_bundle`` does; errors call it ``shown``."""
    files = _unpack(content, shown)
    if verification is not None:
        # Before anything in it is read or compiled.
        try:
            verify_files(files, verification)
        except SignatureRefused as refused:
            raise ConfigurationError(f"{shown}: {refused}") from refused
    bundle, manifest = _read(files, shown)
    # Not the manifest's revision: where others built it, that is a commit or a date.
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict) and metadata.get(_SEAL, bundle.revision) != bundle.revision:
        raise ConfigurationError(f"{shown} was changed after it was built")
    missing = _missing_builtins(bundle, shown)
    if missing:
        raise _refuse_builtins(missing, shown, "")
    return bundle


def render_archive(
    bundle: Bundle, engine: Literal["wasm", "opa"], signer: Signer | None = None
) -> bytes:
    """Return the bundle as a file for the broker itself, or for an OPA server.

    The same bundle is the same bytes, unless it is signed. A server gets no WebAssembly: builds of
    OPA that cannot run it refuse a bundle that has it.
    """
    manifest: dict[str, Any] = {
        "revision": bundle.revision,
        "roots": ["broker"],
        "rego_version": 1,
        "metadata": {_SEAL: bundle.revision},
    }
    if engine == "wasm":
        decided, _ = read_metadata(compile_module(bundle.wasm))
        manifest["wasm"] = [
            {"entrypoint": entrypoint, "module": f"/{_WASM}"} for entrypoint in sorted(decided)
        ]
        files = {_DATA: bundle.data, _WASM: bundle.wasm, **bundle.modules}
    else:
        files = {_DATA: bundle.data, **bundle.modules}
    files[_MANIFEST] = orjson.dumps(manifest)
    if signer is not None:
        files[SIGNATURES] = sign_files(files, signer)
    return pack(files)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ARCHIVE + 1)
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        raise ConfigurationError(f"policy.path: {path}: {why}") from error


def _unpack(content: bytes, shown: str) -> Mapping[str, bytes]:
    try:
        return unpack(content)
    except ArchiveInvalid as invalid:
        raise ConfigurationError(f"{shown} is no bundle ({invalid})") from invalid


def _read(
    files: Mapping[str, bytes], shown: str, modules: Mapping[str, bytes] | None = None
) -> tuple[Bundle, Mapping[str, Any]]:
    try:
        data = orjson.loads(files[_DATA])
        manifest = orjson.loads(files.get(_MANIFEST, b"{}"))
    except KeyError as error:
        raise ConfigurationError(f"{shown} is no bundle: no {error} in it") from None
    except ValueError as error:
        raise ConfigurationError(f"{shown} is no bundle ({error})") from None
    if not isinstance(data, dict) or not isinstance(manifest, dict):
        raise ConfigurationError(f"{shown}: its data or manifest is no object")
    if _WASM not in files:
        raise ConfigurationError(f"{shown} holds no {_WASM}; build it with `broker policy build`")
    if len(files[_DATA]) > MAX_DATA:
        raise ConfigurationError(
            f"the data of {shown.removeprefix('policy.path: ')} is larger than {MAX_DATA >> 20} MiB"
        )
    if modules is None:
        modules = {name: text for name, text in files.items() if name.endswith(".rego")}
    revision = _digest((name, files[name]) for name in (_DATA, _WASM))
    return Bundle(revision, files[_WASM], files[_DATA], modules), manifest


def _entrypoints(snapshot: Snapshot) -> tuple[str, ...]:
    has_proxy = any(
        _PROXY_PACKAGE.search(text) for name, text in snapshot.items() if name.endswith(".rego")
    )
    return (ENTRYPOINT, PROXY_ENTRYPOINT) if has_proxy else (ENTRYPOINT,)


def _digest(contents: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in contents:
        # With its length: no two bundles are the same text.
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _missing_builtins(bundle: Bundle, shown: str) -> list[str]:
    try:
        entrypoints, builtins = read_metadata(compile_module(bundle.wasm))
    except OpaWasmError as error:
        raise ConfigurationError(f"{shown}: {error}") from None
    if ENTRYPOINT not in entrypoints:
        raise ConfigurationError(
            f"{shown} does not decide {ENTRYPOINT}; build it with that entrypoint"
        )
    return sorted(builtins)


def _refuse_builtins(missing: list[str], shown: str, calls: str) -> ConfigurationError:
    names = ", ".join(missing)
    text = f"{shown} calls what a policy has not got here: {names}"
    return ConfigurationError(f"{text}\n{calls}" if calls else text)
