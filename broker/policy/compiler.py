"""Running ``opa`` over a policy: found, bounded, and its errors said with file and line."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationError

DEADLINE: Final = 30.0  # seconds; the stock policy takes a tenth of one
_MAX_LINES: Final = 20
_CHECKOUT: Final = Path(__file__).parents[2]
# What opa says before it names a file.
_PREAMBLE: Final = re.compile(
    r"^(error: )?(load error: )?(bundle \S+: )?([0-9]+ errors? occurred:)?\s*"
)
_LOCATED: Final = re.compile(r"([\w./-]+\.(?:rego|json|ya?ml))(:[0-9]+)?")


def find_opa(environ: Mapping[str, str] | None = None) -> Path:
    """Return ``opa``: what ``BROKER_OPA`` names, else of ``PATH``, else of the checkout.

    Raises ``ConfigurationError`` that says how to get it.
    """
    variables = os.environ if environ is None else environ
    named = variables.get("BROKER_OPA")
    if named:
        found = shutil.which(named)
        if found is None:
            raise ConfigurationError("BROKER_OPA: names no program that can be run")
        return Path(found).absolute()
    found = shutil.which("opa", path=variables.get("PATH")) or shutil.which(
        str(_CHECKOUT / ".tools" / "opa")
    )
    if found is None:
        raise ConfigurationError(
            "policy.path: compiling a folder needs opa, and there is none; put it on PATH, name it"
            " in BROKER_OPA, run `make .tools/opa` in a checkout, or set policy.path to a bundle"
            " that `broker policy build` made elsewhere"
        )
    return Path(found).absolute()


def run_opa(
    opa: Path, arguments: Sequence[str], *, folder: Path, deadline: float = DEADLINE
) -> subprocess.CompletedProcess[str]:
    """Run ``opa`` in ``folder`` and return how it ended. Raises ``ConfigurationError``."""
    # Rego can read the environment of opa, so it gets none of ours: there are secrets in it.
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    try:
        return subprocess.run(  # noqa: S603 — the program is ours to find, no argument is a shell's
            [opa, *arguments],
            cwd=folder,
            env=environment | {"HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"policy.path: opa took longer than {deadline:g} s") from None
    except OSError as error:
        raise ConfigurationError(f"{opa}: cannot be run ({error.strerror})") from error


def compile_bundle(
    opa: Path,
    root: Path,
    archive: Path,
    entrypoints: Sequence[str],
    shown: Path,
    *,
    deadline: float,
) -> None:
    """Compile the bundle root to a bundle with WebAssembly. ``shown`` is what errors call it."""
    # -b: without it the schemas would be read as data. In the root and by ``.``: the paths that
    # opa compiles into the module are then the same wherever it runs.
    ended = run_opa(
        opa,
        [
            *("build", "-t", "wasm", "--ignore", "*_test.rego"),
            *(option for entrypoint in entrypoints for option in ("-e", entrypoint)),
            *("-o", str(archive), "-b", "."),
        ],
        folder=root,
        deadline=deadline,
    )
    if ended.returncode != 0:
        text = explain(ended.stderr or ended.stdout, shown)
        raise ConfigurationError(f"policy.path: {shown} does not compile\n{text}")


def find_calls(opa: Path, root: Path, builtins: Iterable[str], shown: Path) -> str:
    """Return where these built-ins are called, a line each; empty if that cannot be said."""
    known = run_opa(opa, ["capabilities", "--current"], folder=root)
    try:
        capabilities = json.loads(known.stdout)
        capabilities["builtins"] = [
            each for each in capabilities["builtins"] if each["name"] not in set(builtins)
        ]
    except (ValueError, KeyError, TypeError):
        return ""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(capabilities, file)
        file.flush()
        # To an opa that does not know the built-ins, each call is an error with its line.
        ended = run_opa(opa, ["check", "--capabilities", file.name, "-b", "."], folder=root)
    lines = (ended.stderr or ended.stdout).splitlines()
    return explain("\n".join(line for line in lines if "undefined function" in line), shown)


def explain(said: str, shown: Path) -> str:
    """Return opa's errors with each file named as the operator knows it, and without its frame."""
    lines = [_PREAMBLE.sub("", line) if line[:1].strip() else line for line in said.splitlines()]
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"… and {len(lines) - _MAX_LINES} more lines"]
    return "\n".join(
        f"  {_LOCATED.sub(lambda match: str(shown / match[0]), line, count=1)}" for line in lines
    )
