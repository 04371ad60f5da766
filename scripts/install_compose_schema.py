"""Put the Compose specification's JSON schema into ``.tools/``, for the test of our compose file.

It comes in a Go module, through whatever module proxy Go is set up with, and is pinned by the
module's checksum. It is not kept in this repository: it is somebody else's file. Where there is
no Go, or no proxy, the test that needs it says "not run".
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = "github.com/compose-spec/compose-go/v2@v2.10.0"
CHECKSUM = "h1:K2C5LQ3KXvkYpy5N/SG6kIYB90iiAirA9btoTh/gB0Y="  # of the module, as go.sum has it
TOOLS = Path(__file__).parent.parent / ".tools"
SCHEMA = TOOLS / "compose-spec.json"


def find_go() -> str | None:
    """Return a Go toolchain: of the ``PATH``, or what installing ``opa`` has left; else None."""
    left = sorted(TOOLS.glob("*/bin/go")) + sorted(TOOLS.glob("**/go/bin/go"))
    return shutil.which("go") or next(map(str, left), None)


def main() -> int:
    """Return 0 if the schema is there now."""
    go = find_go()
    if go is None:
        print("no compose schema: there is no Go here to fetch it with", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as empty:  # no go.mod of anybody's is in the way
        answer = subprocess.run(
            [go, "mod", "download", "-json", MODULE],
            cwd=empty,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=300,
        )
    try:
        module = json.loads(answer.stdout)
    except ValueError:
        module = {"Error": "go answered nothing"}
    if module.get("Sum") != CHECKSUM:
        problem = module.get("Error", "its checksum is not the pinned one")
        print(f"no compose schema: {MODULE}: {problem}", file=sys.stderr)
        return 1
    TOOLS.mkdir(exist_ok=True)
    shutil.copyfile(Path(module["Dir"], "schema", "compose-spec.json"), SCHEMA)
    SCHEMA.chmod(0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main())
