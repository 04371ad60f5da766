"""Where a server's socket can be, and how a server is found."""

import os
from pathlib import Path

import pytest

from broker.db.loop import run_apart
from broker.db.postmaster import Postmaster, find_sockets, is_socket_folder


@pytest.mark.parametrize(
    ("folder", "fits"),
    [
        pytest.param("/srv/broker/.broker/postgres", True, id="plain"),
        pytest.param("/" + "d" * 92, True, id="107-bytes-with-its-file"),
        pytest.param("/" + "d" * 93, False, id="108-bytes"),
        pytest.param("/a,b", False, id="comma-two-hosts-in-a-url"),
        pytest.param("/a:5432", False, id="colon-a-port-in-a-url"),
        pytest.param("/a b", False, id="space"),
        pytest.param("/á", False, id="beyond-ascii"),
        pytest.param("relative", False, id="relative"),
    ],
)
def test_a_socket_is_only_where_its_address_fits_and_a_url_can_name_it(folder, fits):
    """Otherwise it is in a private folder of its own."""
    assert fits == is_socket_folder(Path(folder))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no-file"),
        pytest.param("", id="empty"),
        pytest.param("not a number\n", id="no-number"),
        pytest.param("1\n", id="cut-short"),
        pytest.param(f"{os.getpid()}\n/data\n0\n5432\n/sockets\n\n1 1\nready\n", id="a-stranger"),
        pytest.param("4194304\n/data\n0\n5432\n/sockets\n\n1 1\nready\n", id="nobody"),
    ],
)
def test_a_file_that_was_left_behind_is_no_server(tmp_path, content):
    """After a crash its number may be another program's."""
    if content is not None:
        (tmp_path / "postmaster.pid").write_text(content)

    assert Postmaster.find(tmp_path) is None


def test_where_the_socket_was_is_known_also_after_a_crash(tmp_path):
    """So that the private folder of a killed server is cleared away."""
    assert find_sockets(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("4194304\n/data\n0\n5432\n/sockets\n")

    assert Path("/sockets") == find_sockets(tmp_path)


async def test_blocking_work_also_runs_where_a_loop_runs():
    """``broker dev`` migrates from inside its loop."""

    async def answer() -> int:
        return 42

    assert 42 == run_apart(answer)
