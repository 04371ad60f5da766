"""How a server of the Redis protocol gets into ``.tools/``, and what is said if it cannot."""

from pathlib import Path

import pytest

from scripts import install_redis as script


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o755)
    return path


@pytest.mark.parametrize("name", script.PROGRAMS)
def test_the_systems_own_is_taken_if_there_is_one(tmp_path, monkeypatch, name):
    """Redis or Valkey."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(script, "REDIS", tmp_path / "redis")

    assert put(tmp_path / name) == script.find_server()


def test_an_unpacked_one_finds_its_libraries(tmp_path, monkeypatch):
    """They are beside it, and nowhere else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(script, "REDIS", tmp_path / "redis")
    program = put(tmp_path / "redis/usr/bin/redis-server")
    library = put(tmp_path / "redis/usr/lib/x86_64-linux-gnu/liblzf.so.1")

    assert program == script.find_server()
    assert str(library.parent) == script.environment(program)["LD_LIBRARY_PATH"]
    assert "LD_LIBRARY_PATH" not in script.environment(tmp_path / "redis-server")


def test_where_there_is_no_apt_get_a_line_says_so(tmp_path, monkeypatch, capsys):
    """And nothing is left behind; every other check runs."""
    monkeypatch.setattr(script, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(script, "REDIS", tmp_path / ".tools/redis")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert 1 == script.main()
    assert "no Redis: there is no apt-get here\n" == capsys.readouterr().err
    assert [] == list((tmp_path / ".tools").iterdir())
