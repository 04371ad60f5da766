"""How a Chromium comes to be there: taken if there is one, and what is said if it cannot be had."""

import os

import pytest

from scripts import install_chromium as script


def put(folder, name, text):
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on it, on which this is run by root."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROKER_CHROMIUM", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


@pytest.mark.parametrize("name", script.NAMES)
def test_what_is_installed_is_taken(machine, name):
    """By whichever of its names; nothing is installed then."""
    put(machine, name, "echo 1.0")

    assert machine / name == script.find_chromium()
    assert 0 == script.main()


def test_another_one_can_be_named(machine, monkeypatch, capsys):
    """And then it is that one or none."""
    put(machine, "chromium", "echo 1.0")
    put(machine, "mine", "echo 1.0")
    monkeypatch.setenv("BROKER_CHROMIUM", str(machine / "mine"))
    assert machine / "mine" == script.find_chromium()

    monkeypatch.setenv("BROKER_CHROMIUM", str(machine / "missing"))
    assert script.find_chromium() is None
    assert 1 == script.main()
    assert "BROKER_CHROMIUM names no program that is here" in capsys.readouterr().err


def test_without_apt_get_a_line_says_what_to_install(machine, capsys):
    """Every other check runs."""
    assert 1 == script.main()
    assert (
        "no Chromium: install Chromium or Chrome; there is no apt-get here to do it with\n"
        == capsys.readouterr().err
    )


def test_nobody_but_root_installs_anything(machine, monkeypatch, capsys):
    """It says the command, and does not ask for a password."""
    put(machine, "apt-get", "echo never >&2; exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert 1 == script.main()
    assert "no Chromium: install it: sudo apt-get install chromium\n" == capsys.readouterr().err


def test_root_installs_it_once_and_is_asked_nothing(machine, capfd):
    """Lists first, as a new machine has none."""
    put(
        machine,
        "apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >>{machine}/log\n'
        f'case "$*" in *install*) printf "#!/bin/sh\\necho 1.0\\n" >{machine}/chromium;'
        f" /bin/chmod 755 {machine}/chromium;; esac",
    )

    assert 0 == script.main()
    assert 0 == script.main()
    options = "noninteractive --quiet --yes -o DPkg::Lock::Timeout=120"
    assert [
        f"{options} update",
        f"{options} install --no-install-recommends chromium",
    ] == (machine / "log").read_text().splitlines()
    assert "installing Chromium, for the tests of pages (once)\n" == capfd.readouterr().out


def test_a_package_that_is_not_there_is_said(machine, capsys):
    """With the last line of what apt-get said."""
    put(machine, "apt-get", "echo 'E: Unable to locate package chromium' >&2; exit 100")

    assert 1 == script.main()
    assert "Unable to locate package chromium" in capsys.readouterr().err
