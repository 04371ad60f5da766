"""Put an S3-compatible store into ``.tools/object-store/``, for the tests of published checkpoints.

It is the Versity S3 Gateway, a server that nobody here wrote, over a folder: with versions, object
lock and credentials. Go builds it from wherever it is set up to take modules from, and every module
that was linked in is held against the pinned checksums before anything of it runs. Where there is
no Go, or no way to its modules, the tests say "not run".
"""

import shutil
import sys
import tempfile
from pathlib import Path

from scripts.install_oauth_clients import check_go
from scripts.install_opa import GO_BIN, TOOLS, Failed, go_environment, run

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw"
CHECKSUM = "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="  # of the module, as go.sum has it
# Of every module that is linked in besides, with its version and checksum.
MODULES = "b741ed3e557ca84a2a8abaf9e577dd12a0083653e4366aff58f431968f187a6e"
FOLDER = TOOLS / "object-store"
PROGRAM = FOLDER / "versitygw"


def main() -> int:
    """Return 0 if it is there now."""
    try:
        if not is_installed():
            install()
    except Failed as failed:
        print(f"no object store: {failed}", file=sys.stderr)
        return 1
    return 0


def is_installed() -> bool:
    """Whether the pinned version is there."""
    noted = FOLDER / "version"
    return PROGRAM.exists() and noted.exists() and noted.read_text() == VERSION


def install() -> None:
    """Build it, look at what was linked, and put it there. Raises ``Failed``."""
    go = shutil.which("go") or (str(GO_BIN) if GO_BIN.exists() else None)
    if go is None:
        raise Failed("there is no Go here")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        # local: no other toolchain is fetched for it.
        environment = {**go_environment(Path(folder)), "GOTOOLCHAIN": "local"}
        run(
            [go, "install", "-ldflags=-s -w", f"{MODULE}/cmd/versitygw@{VERSION}"],
            "building an object store in Go, for the tests (once, about a minute)",
            environment=environment,
            folder=folder,
        )
        built = Path(folder, PROGRAM.name)
        check(run([go, "version", "-m", str(built)], "checking its modules"))
        FOLDER.mkdir(exist_ok=True)
        built.replace(PROGRAM)
        (FOLDER / "version").write_text(VERSION)


def check(listing: str) -> None:
    """Raise ``Failed`` unless exactly the pinned modules were linked in; Go noted their hashes."""
    if f"\tmod\t{MODULE}\t{VERSION}\t{CHECKSUM}\n" not in listing:
        raise Failed(f"what was built is not {MODULE} {VERSION} as it was pinned")
    check_go(listing, MODULES)


if __name__ == "__main__":
    sys.exit(main())
