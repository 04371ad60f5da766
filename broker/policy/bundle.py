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

import gzip
import hashlib
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import orjson
from opapywasm.errors import OpaWasmError

from broker.errors import ConfigurationError
from broker.policy.compiler import DEADLINE, compile_bundle, find_calls, find_opa
from broker.policy.engine import ENTRYPOINT, PROXY_ENTRYPOINT
from broker.policy.guest import MAX_DATA, compile_module, read_metadata
from broker.policy.snapshot import (
    MAX_BYTES,
    MAX_FILES,
    Snapshot,
    take_snapshot,
    write_snapshot,
)

__all__ = ["Bundle", "build_bundle", "find_opa", "load_bundle", "render_archive"]

_WASM: Final = "policy.wasm"
_DATA: Final = "data.json"
_MANIFEST: Final = ".manifest"
_MAX_ARCHIVE: Final = 2 * MAX_BYTES  # the folder, and what was compiled from it
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
    modules: Mapping[str, bytes] = field(repr=False)  # the Rego by path; none if it was loaded


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
        bundle, _ = _read_archive(archive, folder, modules)
        missing = _missing_builtins(bundle, folder)
        if missing:
            raise _refuse_builtins(missing, folder, find_calls(compiler, root, missing, folder))
    return bundle


def load_bundle(path: Path) -> Bundle:
    """Load a bundle that ``broker policy build``, or ``opa build -t wasm``, has made.

    Raises ``ConfigurationError``, also if it is not what it was when it was built.
    """
    bundle, manifest = _read_archive(path, path)
    # Not the manifest's revision: where others built it, that is a commit or a date.
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict) and metadata.get(_SEAL, bundle.revision) != bundle.revision:
        raise ConfigurationError(f"policy.path: {path} was changed after it was built")
    missing = _missing_builtins(bundle, path)
    if missing:
        raise _refuse_builtins(missing, path, "")
    return bundle


def render_archive(bundle: Bundle, engine: Literal["wasm", "opa"]) -> bytes:
    """Return the bundle as a file for the broker itself, or for an OPA server.

    The same bundle is the same bytes. A server gets no WebAssembly: builds of OPA that cannot run
    it refuse a bundle that has it.
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
        files = {_DATA: bundle.data, _WASM: bundle.wasm}
    else:
        files = {_DATA: bundle.data, **bundle.modules}
    files[_MANIFEST] = orjson.dumps(manifest)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(f"/{name}")
            member.size, member.mode = len(files[name]), 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(packed.getvalue(), mtime=0)


def _read_archive(
    path: Path, shown: Path, modules: Mapping[str, bytes] = MappingProxyType({})
) -> tuple[Bundle, Mapping[str, Any]]:
    try:
        files = dict(_members(path))
        data = orjson.loads(files[_DATA])
        manifest = orjson.loads(files.get(_MANIFEST, b"{}"))
    except KeyError as error:
        raise ConfigurationError(f"policy.path: {shown} is no bundle: no {error} in it") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ConfigurationError(f"policy.path: {shown} is no bundle ({error})") from None
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        raise ConfigurationError(f"policy.path: {shown}: {why}") from error
    if not isinstance(data, dict) or not isinstance(manifest, dict):
        raise ConfigurationError(f"policy.path: {shown}: its data or manifest is no object")
    if _WASM not in files:
        raise ConfigurationError(
            f"policy.path: {shown} holds no {_WASM}; build it with `broker policy build`"
        )
    if len(files[_DATA]) > MAX_DATA:
        raise ConfigurationError(
            f"policy.path: the data of {shown} is larger than {MAX_DATA >> 20} MiB"
        )
    revision = _digest((name, files[name]) for name in (_DATA, _WASM))
    return Bundle(revision, files[_WASM], files[_DATA], modules), manifest


def _members(path: Path) -> Iterable[tuple[str, bytes]]:
    """Yield the files of an archive that is whole and within bounds."""
    with gzip.open(path) as packed:
        unpacked = packed.read(_MAX_ARCHIVE + 1)  # to the end, where its checksum is
    if len(unpacked) > _MAX_ARCHIVE:
        raise ValueError(f"larger than {_MAX_ARCHIVE >> 20} MiB")
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number > MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files")
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name.removeprefix("./").lstrip("/"), content.read()


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


def _missing_builtins(bundle: Bundle, shown: Path) -> list[str]:
    try:
        entrypoints, builtins = read_metadata(compile_module(bundle.wasm))
    except OpaWasmError as error:
        raise ConfigurationError(f"policy.path: {shown}: {error}") from None
    if ENTRYPOINT not in entrypoints:
        raise ConfigurationError(
            f"policy.path: {shown} does not decide {ENTRYPOINT}; build it with that entrypoint"
        )
    return sorted(builtins)


def _refuse_builtins(missing: list[str], shown: Path, calls: str) -> ConfigurationError:
    names = ", ".join(missing)
    text = f"policy.path: {shown} calls what a policy has not got here: {names}"
    return ConfigurationError(f"{text}\n{calls}" if calls else text)
