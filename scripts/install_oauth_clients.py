"""Put OAuth client libraries into ``.tools/oauth-clients/``, for the tests of ``tests/clients``.

They show that the exchange works for clients that nobody here wrote. JavaScript comes by npm, Go by
the toolchain that is there, each from wherever it is set up to take packages from, and what came
is held against the pinned hashes before anything of it runs. Where one of them cannot be had, its
tests say "not run", and all others run.
"""

import json
import re
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from scripts.install_opa import GO_BIN, ROOT, TOOLS, Failed, go_environment, run

SOURCES = ROOT / "tests" / "clients"
CLIENTS = TOOLS / "oauth-clients"
GO_MOD = """module exchange

go 1.26.0

require github.com/zitadel/oidc/v3 v3.52.0
"""
# Of every module that is linked in, with its version and checksum: "github.com/… v4.1.9 h1:…".
GO_MODULES = "2bd2de46aa13dfb23f6ff0d41bc247b089d244b15f6e6630a32b2339f0e3daef"


def main() -> int:
    """Return 0 if all of them are there now."""
    CLIENTS.mkdir(parents=True, exist_ok=True)
    problems = []
    for install in (install_javascript, install_go):
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


def install_go() -> None:
    """Build the program around a Go client; its source beside it says that it is right."""
    go = shutil.which("go") or (str(GO_BIN) if GO_BIN.exists() else None)
    if go is None:
        raise Failed("there is no Go here")
    source = (SOURCES / "zitadel.go").read_text()
    if is_installed(CLIENTS / "zitadel.go", source):
        return
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        Path(folder, "go.mod").write_text(GO_MOD)
        Path(folder, "main.go").write_text(source)
        program = Path(folder, "zitadel")
        # local: no other toolchain is fetched for it.
        environment = {**go_environment(Path(folder)), "GOTOOLCHAIN": "local"}
        run(
            [go, "build", "-mod=mod", "-ldflags=-s -w", "-o", str(program), "."],
            "building an OAuth client in Go (once)",
            environment=environment,
            folder=folder,
        )
        check_go(run([go, "version", "-m", str(program)], "checking its modules"))
        program.replace(CLIENTS / "zitadel")
    (CLIENTS / "zitadel.go").write_text(source)


def check_go(listing: str) -> None:
    """Raise ``Failed`` unless exactly the pinned modules were linked in; Go noted their hashes."""
    modules = sorted(re.findall(r"^\tdep\t(.+)$", listing, re.MULTILINE))
    digest = sha256("\n".join(modules).encode()).hexdigest()
    if digest != GO_MODULES:
        raise Failed(f"the modules that Go linked are not those pinned: together {digest}")


def is_installed(copy: Path, source: str) -> bool:
    """Whether what is there was made from this source."""
    return copy.exists() and copy.read_text() == source


if __name__ == "__main__":
    sys.exit(main())
