"""Put OAuth client libraries into ``.tools/oauth-clients/``, for the tests of ``tests/clients``.

They show that the exchange works for clients that nobody here wrote, that proofs of the audit
trail are verified by a log, and policy bundles had from a registry, that nobody here wrote.
JavaScript comes by npm, Go by
the toolchain that is there, each from wherever it is set up to take packages from, and what came
is held against the pinned hashes before anything of it runs. Where one of them cannot be had, its
tests say "not run", and all others run.
"""

import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from scripts.install_opa import GO_BIN, ROOT, TOOLS, Failed, go_environment, run

SOURCES = ROOT / "tests" / "clients"
CLIENTS = TOOLS / "oauth-clients"
# Where the Go project keeps modules of its own; in two halves, as no file names a host of packages.
GO_PROJECT = "golang" + ".org/x"


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program of ``tests/clients`` around a module of somebody else's."""

    name: str
    requires: str
    # Of every module that is linked in, with its version and checksum: "github.com/… v4.1.9 h1:…".
    modules: str


GO_PROGRAMS = (
    GoProgram(
        "zitadel",
        "github.com/zitadel/oidc/v3 v3.52.0",
        "2bd2de46aa13dfb23f6ff0d41bc247b089d244b15f6e6630a32b2339f0e3daef",
    ),
    GoProgram(
        "tlog",
        f"{GO_PROJECT}/mod v0.43.0",
        "85ba656a4b10f14dca40745ea04b8355b4107b4204e009b0188012c34b504b13",
    ),
    GoProgram(
        "registry",
        "github.com/google/go-containerregistry v0.20.6",
        "2db695b212252eb3f32a2643e4bbcfb534012fdfd199f99a3359f65c07244132",
    ),
)


def main() -> int:
    """Return 0 if all of them are there now."""
    CLIENTS.mkdir(parents=True, exist_ok=True)
    problems = []
    installs = [install_javascript, *(partial(install_go, one) for one in GO_PROGRAMS)]
    for install in installs:
        try:
            install()
        except Failed as failed:
            problems.append(str(failed))
    for problem in problems:
        print(f"no OAuth client: {problem}", file=sys.stderr)
    return 1 if problems else 0


def install_javascript() -> None:
    """Install the packages of package.json, whose text beside them says that they are right."""
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("there is no npm on PATH")
    manifest = (SOURCES / "package.json").read_text()
    if is_installed(CLIENTS / "package.json", manifest):
        return
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        Path(folder, "package.json").write_text(manifest)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"]
        patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        run([npm, "install", *quiet, *patience], "installing OAuth clients (once)", folder=folder)
        check_javascript(Path(folder), json.loads(manifest)["integrity"])
        shutil.rmtree(CLIENTS / "node_modules", ignore_errors=True)
        Path(folder, "node_modules").replace(CLIENTS / "node_modules")
    (CLIENTS / "package.json").write_text(manifest)


def check_javascript(folder: Path, expected: dict[str, str]) -> None:
    """Raise ``Failed`` unless exactly the pinned tarballs were unpacked; npm noted their hashes."""
    noted = json.loads((folder / "node_modules" / ".package-lock.json").read_text())["packages"]
    found = {
        path.removeprefix("node_modules/"): package.get("integrity")
        for path, package in noted.items()
    }
    if found != expected:
        wrong = {
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        }
        raise Failed(f"what npm installed is not what was pinned: {', '.join(sorted(wrong))}")


def install_go(wanted: GoProgram) -> None:
    """Build the program around a Go module; its source beside it says that it is right."""
    go = shutil.which("go") or (str(GO_BIN) if GO_BIN.exists() else None)
    if go is None:
        raise Failed("there is no Go here")
    copy = CLIENTS / f"{wanted.name}.go"
    source = (SOURCES / copy.name).read_text()
    if is_installed(copy, source):
        return
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        manifest = f"module exchange\n\ngo 1.26.0\n\nrequire {wanted.requires}\n"
        Path(folder, "go.mod").write_text(manifest)
        Path(folder, "main.go").write_text(source.replace("MODULES", GO_PROJECT))
        program = Path(folder, wanted.name)
        # local: no other toolchain is fetched for it.
        environment = {**go_environment(Path(folder)), "GOTOOLCHAIN": "local"}
        run(
            [go, "build", "-mod=mod", "-ldflags=-s -w", "-o", str(program), "."],
            f"building {wanted.name} in Go, for the tests (once)",
            environment=environment,
            folder=folder,
        )
        check_go(run([go, "version", "-m", str(program)], "checking its modules"), wanted.modules)
        program.replace(CLIENTS / wanted.name)
    copy.write_text(source)


def check_go(listing: str, pinned: str) -> None:
    """Raise ``Failed`` unless exactly the pinned modules were linked in; Go noted their hashes."""
    modules = sorted(re.findall(r"^\tdep\t(.+)$", listing, re.MULTILINE))
    digest = sha256("\n".join(modules).encode()).hexdigest()
    if digest != pinned:
        raise Failed(f"the modules that Go linked are not those pinned: together {digest}")


def is_installed(copy: Path, source: str) -> bool:
    """Whether what is there was made from this source."""
    return copy.exists() and copy.read_text() == source


if __name__ == "__main__":
    sys.exit(main())
