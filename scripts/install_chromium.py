"""See to it that there is a Chromium, for the tests of pages and for the pictures of them.

Playwright drives it; a browser of Playwright's own is not fetched. Any Chromium or Chrome that is
installed will do. Where there is none, the package of the system is installed by ``apt-get``, from
wherever that is set up to take packages from, if whoever runs this may install anything. Else what
to install is said in a line, and the tests say "not run".
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PACKAGE: Final = "chromium"
DEADLINE: Final = 600  # seconds a step may take: it is large
# Nobody is there to answer questions; another apt-get is waited for.
_QUIETLY: Final = {"DEBIAN_FRONTEND": "noninteractive"}
_APT: Final = ("apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120")


class Failed(Exception):  # noqa: N818 — an outcome
    """There is no Chromium to be had. The text says why, in a line."""


def main() -> int:
    """Return 0 if it is there now."""
    try:
        program = find_chromium() or install()
        run([str(program), "--version"])  # what it needs besides is there
    except Failed as failed:
        print(f"no Chromium: {failed}", file=sys.stderr)
        return 1
    return 0


def find_chromium() -> Path | None:
    """Return the browser that is installed; ``BROKER_CHROMIUM`` names another one."""
    named = os.environ.get("BROKER_CHROMIUM")
    found = [shutil.which(name) for name in ([named] if named else NAMES)]
    return next((Path(path) for path in found if path), None)


def install() -> Path:
    """Install the package of the system. Raises ``Failed``."""
    if os.environ.get("BROKER_CHROMIUM"):
        raise Failed("BROKER_CHROMIUM names no program that is here")
    if shutil.which("apt-get") is None:
        raise Failed("install Chromium or Chrome; there is no apt-get here to do it with")
    if os.geteuid() != 0:
        raise Failed(f"install it: sudo apt-get install {PACKAGE}")
    print("installing Chromium, for the tests of pages (once)", flush=True)
    run([*_APT, "update"])
    run([*_APT, "install", "--no-install-recommends", PACKAGE])
    program = find_chromium()
    if program is None:
        raise Failed(f"the package {PACKAGE} has no {' or '.join(NAMES)}")
    return program


def run(command: list[str]) -> None:
    """Run it; raise ``Failed`` with its last line if it fails."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | _QUIETLY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command[:3])}: {said[-1] if said else 'failed'}")


if __name__ == "__main__":
    sys.exit(main())
