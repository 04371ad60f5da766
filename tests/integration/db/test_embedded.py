"""The PostgreSQL that is brought along: it starts anywhere, and ends with whoever started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.errors import ConfigurationError
from tests.fixtures.postgres import execute

STARTER = """
import signal, sys
from pathlib import Path
from broker.db.embedded import EmbeddedPostgres

signal.signal(signal.SIGINT, signal.SIG_IGN)
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.superuser_url, flush=True)
sys.stdin.read()
"""


def start_elsewhere(folder: Path) -> "subprocess.Popen[str]":
    """Start the server of that folder by another process."""
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def wait_until(condition) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_there_are_three_roles_and_none_of_them_rules(postgres):
    """As a real installation has them: deploy/postgres/roles.sh."""
    roles = execute(
        postgres.superuser_url,
        "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname ~ '^broker_' ORDER BY rolname",
    )
    mine = {
        url: tuple(execute(url, "SELECT current_user, current_database()")[0])
        for url in (postgres.owner_url, postgres.app_url, postgres.auditor_url)
    }

    assert [
        (name, False, False, False, False, False)
        for name in ("broker_app", "broker_auditor", "broker_owner")
    ] == [tuple(role) for role in roles]
    assert [
        ("broker_owner", "broker"),
        ("broker_app", "broker"),
        ("broker_auditor", "broker"),
    ] == list(mine.values())


def test_it_is_durable_and_on_no_network(postgres):
    """What is shown in development is what a production database does."""
    names = ("fsync", "full_page_writes", "synchronous_commit", "listen_addresses")
    settings = execute(
        postgres.superuser_url,
        "SELECT " + ", ".join(f"current_setting('{name}')" for name in names),
    )

    assert ("on", "on", "on", "") == tuple(settings[0])


def test_its_socket_is_closed_to_other_users(postgres):
    """It asks for no password, so nobody else may reach it."""
    (place,) = execute(postgres.superuser_url, "SHOW unix_socket_directories")[0]

    assert 0o700 == Path(place).stat().st_mode & 0o777


@pytest.mark.row("DRILL-2")
def test_what_was_committed_is_there_after_every_process_was_killed(tmp_path):
    """SIGKILL, start again in the same folder, and it recovers by itself."""
    with EmbeddedPostgres(tmp_path) as server:
        execute(server.superuser_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
        for _ in range(3):
            server.kill()
            assert not server.running
            server.start()
            assert server.running

        assert [(1,)] == [tuple(row) for row in execute(server.superuser_url, "TABLE kept")]
    assert not server.running


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("d" * 100 + "/" + "e" * 100, id="200-characters-deep"),
        pytest.param("a b, c:5", id="characters-that-a-url-takes-for-its-own"),
    ],
)
def test_any_folder_will_do(tmp_path, name):
    """The socket is then in a short private folder, which goes when the server does."""
    with EmbeddedPostgres(tmp_path / name) as server:
        (place,) = execute(server.superuser_url, "SHOW unix_socket_directories")[0]
        assert 0o700 == Path(place).stat().st_mode & 0o777

    assert not Path(place).exists()


def test_starting_twice_is_starting_once(tmp_path):
    """Idempotent, and what was made stays."""
    with EmbeddedPostgres(tmp_path) as server:
        url = server.app_url
        server.start()

        assert url == server.app_url


def test_a_second_process_joins_the_first_one_s_server(tmp_path):
    """``broker audit query`` beside ``broker dev``; leaving does not stop it."""
    starter = start_elsewhere(tmp_path)
    try:
        url = starter.stdout.readline().strip()
        with EmbeddedPostgres(tmp_path) as joined:
            assert url == joined.superuser_url
            assert [(1,)] == [tuple(row) for row in execute(joined.app_url, "SELECT 1")]

        assert joined.running
    finally:
        end(starter)


def test_of_two_that_start_at_once_one_makes_the_cluster(tmp_path):
    """Neither fails, and both reach the same one."""
    starters = [start_elsewhere(tmp_path) for _ in range(2)]
    try:
        urls = {starter.stdout.readline().strip() for starter in starters}
    finally:
        for starter in starters:
            end(starter)

    assert 1 == len(urls)
    assert "" not in urls


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_it_ends_with_the_process_that_started_it(tmp_path, how):
    """However that one ends: nothing is left running on a developer's machine."""
    starter = start_elsewhere(tmp_path)
    starter.stdout.readline()
    observer = EmbeddedPostgres(tmp_path)
    assert observer.running
    starter.send_signal(how)
    starter.communicate()

    assert wait_until(lambda: not observer.running)
    with EmbeddedPostgres(tmp_path) as again:  # and the folder is free at once
        assert again.running


def test_ctrl_c_is_for_the_broker_and_not_for_its_database(tmp_path):
    """A terminal signals its whole group; the broker still has rows to write then."""
    starter = start_elsewhere(tmp_path)
    try:
        starter.stdout.readline()
        os.killpg(starter.pid, signal.SIGINT)
        with EmbeddedPostgres(tmp_path) as joined:
            assert [(1,)] == [tuple(row) for row in execute(joined.app_url, "SELECT 1")]
    finally:
        end(starter)


def test_a_cluster_of_another_version_is_left_alone(tmp_path):
    """It would not open it, and must not make a new one in its place."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")

    with pytest.raises(ConfigurationError, match=r"is of PostgreSQL 15, and 18 is here"):
        EmbeddedPostgres(tmp_path).start()

    assert ["PG_VERSION"] == [path.name for path in (tmp_path / "postgres").iterdir()]


def test_why_it_does_not_start_is_said_with_the_end_of_its_log(tmp_path):
    """And nothing is left running or locked: mended, it starts."""
    server = EmbeddedPostgres(tmp_path)
    with server:
        pass
    configuration = tmp_path / "postgres" / "postgresql.conf"
    whole = configuration.read_text()
    configuration.write_text(whole + "\nno_such_setting = 1\n")
    with pytest.raises(ConfigurationError, match=r"(?s)data_dir: .*no_such_setting"):
        server.start()
    configuration.write_text(whole)

    with server:
        assert server.running


@pytest.mark.skipif(os.geteuid() == 0, reason="not run: root may enter every folder")
def test_a_folder_of_another_user_is_refused_by_name(tmp_path):
    """With what to do about it, and no traceback."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)

    with pytest.raises(ConfigurationError, match="belongs to another user"):
        EmbeddedPostgres(closed / "data").start()
    closed.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root has a user to become")
def test_root_runs_it_as_somebody_else(tmp_path):
    """PostgreSQL refuses root; a folder that is closed to others serves all the same."""
    tmp_path.chmod(0o700)
    with EmbeddedPostgres(tmp_path) as server:
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])

        assert 0 != Path(f"/proc/{pid}").stat().st_uid
        assert server.running


def test_a_url_is_not_given_before_it_runs(tmp_path):
    """Where the socket is is not known yet."""
    with pytest.raises(RuntimeError, match="not started"):
        _ = EmbeddedPostgres(tmp_path).app_url
