"""Put SoftHSM 2, a PKCS#11 token in software, into ``.tools/softhsm/``, for the tests of keys.

It is a Debian package, taken by ``apt-get`` from wherever that is set up to take packages from, and
checked by it. It is unpacked here and not installed, so nothing of the system changes and nobody
need be root. Where there is no ``apt-get``, or no package, and the system has no SoftHSM either,
the tests say "not run".
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"
SOFTHSM = TOOLS / "softhsm"
PACKAGES = ("softhsm2", "libsofthsm2")
DEADLINE = 300  # seconds a step may take


class Failed(Exception):  # noqa: N818 — an outcome
    """There is no SoftHSM to be had. The text says why, in a line."""


def main() -> int:
    """Return 0 if it is there now."""
    try:
        if find_softhsm(SOFTHSM) is None and find_softhsm(Path("/")) is None:
            install()
    except Failed as failed:
        print(f"no SoftHSM: {failed}", file=sys.stderr)
        return 1
    return 0


def find_softhsm(root: Path) -> tuple[Path, Path] | None:
    """Return the program and the library below ``root``; None unless both are there."""
    program = root / "usr" / "bin" / "softhsm2-util"
    library = next(_libraries(root), None)
    return (program, library) if program.exists() and library is not None else None


def install() -> None:
    """Unpack the packages. Raises ``Failed``."""
    if not has_apt():
        raise Failed("there is no apt-get here")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        unpacked = download(PACKAGES, folder)
        found = find_softhsm(unpacked)
        if found is None:
            raise Failed("the packages have neither its program nor its library where they were")
        run([str(found[0]), "--version"], folder)  # what it needs besides is there
        shutil.rmtree(SOFTHSM, ignore_errors=True)
        unpacked.replace(SOFTHSM)


def has_apt() -> bool:
    """Whether there is what takes packages and what unpacks them."""
    return all(shutil.which(program) for program in ("apt-get", "dpkg-deb"))


def download(packages: Sequence[str], folder: str) -> Path:
    """Return where below ``folder`` the packages are unpacked. Raises ``Failed``."""
    if not has_apt():
        raise Failed("there is no apt-get here")
    command = ["apt-get", "--quiet", "download", *packages]
    try:
        run(command, folder)
    except Failed:
        if os.geteuid() != 0:
            raise
        # A new machine has no lists of packages yet.
        run(["apt-get", "--quiet", "update"], folder)
        run(command, folder)
    unpacked = Path(folder, "unpacked")
    for package in sorted(Path(folder).glob("*.deb")):
        run(["dpkg-deb", "--extract", str(package), str(unpacked)], folder)
    return unpacked


def run(command: list[str], folder: str, environ: dict[str, str] | None = None) -> None:
    """Run it; raise ``Failed`` with its last line if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environ,
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


def _libraries(root: Path) -> Iterator[Path]:
    for folder in ("usr/lib", "usr/lib64", "usr/local/lib"):
        for pattern in ("softhsm/libsofthsm2.so", "*/softhsm/libsofthsm2.so"):
            yield from sorted((root / folder).glob(pattern))


if __name__ == "__main__":
    sys.exit(main())
