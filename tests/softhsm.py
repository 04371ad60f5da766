"""A PKCS#11 token in software: a new one for each test that asks, by the program of SoftHSM 2."""

import itertools
import os
import subprocess
from pathlib import Path

from scripts.install_softhsm import SOFTHSM, find_softhsm

NOT_RUN = "not run: SoftHSM 2 is neither in .tools/softhsm (make test fetches it) nor installed"
PIN = "123456"

_numbers = itertools.count(1)


def found() -> tuple[Path, Path] | None:
    """The program and the library, or None."""
    return find_softhsm(SOFTHSM) or find_softhsm(Path("/"))


def configure(folder: Path) -> None:
    """Have tokens in ``folder``, in this process and in those that it starts.

    Once in a process: the library reads it when it is loaded.
    """
    (folder / "tokens").mkdir(parents=True)
    path = folder / "softhsm2.conf"
    path.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(path)


def make_token(folder: Path, *, pin: str = PIN) -> dict[str, str]:
    """Initialise one more token; return it as ``keys.pkcs11`` of a configuration."""
    program, library = found()
    label = f"token-{os.getpid()}-{next(_numbers)}"
    command = [program, "--module", library, "--init-token", "--free", "--label", label]
    subprocess.run(
        [*command, "--pin", pin, "--so-pin", "87654321"], check=True, capture_output=True
    )
    pin_file = folder / f"{label}.pin"
    pin_file.write_text(f"{pin}\n")
    pin_file.chmod(0o600)
    return {"module": str(library), "token_label": label, "pin_file": str(pin_file)}
