"""How an object store gets into ``.tools/``, and what is said if it cannot."""

from hashlib import sha256

import pytest

from scripts import install_object_store as script
from scripts.install_opa import Failed

DEPENDENCY = "github.com/x/y\tv1.0.0\th1:abc="


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A checkout in an empty folder, with an empty ``PATH``."""
    made = tmp_path / ".tools"
    monkeypatch.setattr(script, "TOOLS", made)
    monkeypatch.setattr(script, "FOLDER", made / "object-store")
    monkeypatch.setattr(script, "PROGRAM", made / "object-store" / "versitygw")
    monkeypatch.setattr(script, "GO_BIN", tmp_path / "no-go")
    monkeypatch.setattr(script, "MODULES", sha256(DEPENDENCY.encode()).hexdigest())
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return made


def listing(*, version=script.VERSION, dependency=DEPENDENCY):
    """What ``go version -m`` says of a program."""
    return (
        f"versitygw: go1.26.8\n\tpath\t{script.MODULE}/cmd/versitygw\n"
        f"\tmod\t{script.MODULE}\t{version}\t{script.CHECKSUM}\n\tdep\t{dependency}\n"
    )


def put_go(tools, said):
    """A Go toolchain that builds, and says this of what it has built."""
    program = tools.parent / "path" / "go"
    program.write_text(
        f"""#!/bin/sh
case $1 in
install) echo >"$GOBIN/versitygw" ;;
version) printf '%s' '{said}' ;;
esac
"""
    )
    program.chmod(0o755)


def test_what_was_pinned_is_built_once(tools):
    """And is there for whoever asks again, without Go."""
    put_go(tools, listing())

    assert 0 == script.main()
    assert script.PROGRAM.exists()
    (tools.parent / "path" / "go").unlink()
    assert 0 == script.main()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(listing(version="v1.7.0"), id="another-version"),
        pytest.param(listing(dependency="github.com/x/y\tv1.0.0\th1:xyz="), id="another-module"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_was_not_pinned_is_not_taken(tools, said, capsys):
    """Nothing of it runs, and nothing of it stays."""
    put_go(tools, said)

    assert 1 == script.main()
    assert capsys.readouterr().err.startswith("no object store: ")
    assert [] == list(tools.iterdir())


def test_where_there_is_no_go_a_line_says_so(tools, capsys):
    """And every other check runs."""
    with pytest.raises(Failed):
        script.install()
    assert 1 == script.main()
    assert "no object store: there is no Go here\n" == capsys.readouterr().err
