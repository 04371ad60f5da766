"""How SoftHSM gets into ``.tools/``: taken if it is there, and what is said if it cannot be."""

from pathlib import Path

import pytest

from scripts import install_softhsm as script


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


PROGRAM, LIBRARY = "usr/bin/softhsm2-util", "usr/lib/softhsm/libsofthsm2.so"
OTHER_LIBRARY = "usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"


@pytest.mark.parametrize("library", [LIBRARY, OTHER_LIBRARY])
def test_program_and_library_are_found_together(tmp_path, library):
    """Where Debian puts them, below any root."""
    put(tmp_path, PROGRAM, library)

    assert (tmp_path / PROGRAM, tmp_path / library) == script.find_softhsm(tmp_path)


@pytest.mark.parametrize("names", [(), (PROGRAM,), (LIBRARY,)], ids=["none", "program", "library"])
def test_one_without_the_other_is_nothing(tmp_path, names):
    """A test that could only fail is not run."""
    put(tmp_path, *names)

    assert script.find_softhsm(tmp_path) is None


def test_where_there_is_no_apt_get_a_line_says_so(tmp_path, monkeypatch, capsys):
    """And nothing is left behind; every other check runs."""
    monkeypatch.setattr(script, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(script, "SOFTHSM", tmp_path / ".tools" / "softhsm")
    monkeypatch.setattr(script, "find_softhsm", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert 1 == script.main()
    assert "no SoftHSM: there is no apt-get here\n" == capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


def test_a_package_that_is_not_there_is_said(tmp_path, monkeypatch):
    """With the last line of what apt-get said."""
    fake = tmp_path / "apt-get"
    fake.write_text("#!/bin/sh\necho 'E: Unable to locate package softhsm2' >&2\nexit 100\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(script.Failed, match="Unable to locate package"):
        script.run(["apt-get", "--quiet", "download", "softhsm2"], str(tmp_path))
