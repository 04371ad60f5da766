"""Put a server of the Redis protocol into ``.tools/redis/``, for the tests of what is shared there.

Debian's packages, as ``scripts/install_softhsm.py`` takes them: unpacked here and not installed.
Where there are none, and the system has no server either, the tests say "not run".
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.install_softhsm import TOOLS, Failed, download, run

REDIS = TOOLS / "redis"
PROGRAMS = ("redis-server", "valkey-server")
# The server, and the libraries that few systems have besides.
PACKAGES = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2", "libatomic1")


def main() -> int:
    """Return 0 if it is there now."""
    try:
        if find_server() is None:
            install()
    except Failed as failed:
        print(f"no Redis: {failed}", file=sys.stderr)
        return 1
    return 0


def find_server() -> Path | None:
    """Return the program: the system's, or the one that was unpacked here."""
    for name in PROGRAMS:
        found = shutil.which(name) or shutil.which(str(REDIS / "usr" / "bin" / name))
        if found is not None:
            return Path(found)
    return None


def environment(program: Path) -> dict[str, str]:
    """Return what the program is started with: an unpacked one finds its libraries beside it."""
    if REDIS not in program.parents:
        return dict(os.environ)
    folders = sorted({str(path.parent) for path in REDIS.glob("usr/lib/**/*.so*")})
    return os.environ | {"LD_LIBRARY_PATH": ":".join(folders)}


def install() -> None:
    """Unpack the packages. Raises ``Failed``."""
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        unpacked = download(PACKAGES, folder)
        shutil.rmtree(REDIS, ignore_errors=True)
        unpacked.replace(REDIS)
    program = find_server()
    if program is None:
        raise Failed("the packages have no server where it was")
    run([str(program), "--version"], str(TOOLS), environment(program))


if __name__ == "__main__":
    sys.exit(main())
