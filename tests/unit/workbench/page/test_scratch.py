"""A copy is changed and nothing else; what leaves is a patch that git takes."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.workbench.page.scratch import MOST_TEXT, CannotEdit, Scratch, find_prefix, tag_of

RULE = "package broker.rules.a\n\nx := 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small policy, with things in it that are none of its files."""
    root = tmp_path / "policies"
    (root / "broker" / "grants").mkdir(parents=True)
    (root / "broker" / "a.rego").write_text(RULE)
    (root / "broker" / "grants" / "data.yaml").write_text("a: 1\n")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.rego").write_text("secret")
    (tmp_path / "elsewhere.rego").write_text("elsewhere")
    (root / "link.rego").symlink_to(tmp_path / "elsewhere.rego")
    return root


def test_only_files_of_the_policy_are_copied(folder: Path) -> None:
    """None that is hidden, none behind a link; grants are first."""
    with Scratch(folder) as scratch:
        assert scratch.files == ("broker/grants/data.yaml", "broker/a.rego")
        assert not list(scratch.folder.rglob("x.rego"))
        assert not (scratch.folder / "link.rego").exists()
        place = scratch.folder
    assert not place.exists()


def test_an_edit_stays_in_the_copy(folder: Path) -> None:
    """And can be taken back."""
    with Scratch(folder) as scratch:
        before = scratch.state
        scratch.edit("broker/a.rego", "package x\r\n", was=tag_of(RULE))
        assert (scratch.folder / "broker" / "a.rego").read_bytes() == b"package x\n"
        assert scratch.changed == ("broker/a.rego",)
        assert scratch.state != before
        scratch.revert("broker/a.rego")
        assert (scratch.state, scratch.changed, scratch.render_patch("p/")) == (before, (), "")
    assert (folder / "broker" / "a.rego").read_text() == RULE


@pytest.mark.parametrize(
    ("name", "text", "was"),
    [
        pytest.param("../elsewhere.rego", "x", RULE, id="a way out"),
        pytest.param("/etc/passwd", "x", RULE, id="an absolute path"),
        pytest.param("link.rego", "x", "elsewhere", id="a link"),
        pytest.param("broker/b.rego", "x", RULE, id="no such file"),
        pytest.param("broker/a.rego", "x", "another", id="changed meanwhile"),
        pytest.param("broker/a.rego", "x" * (MOST_TEXT + 1), RULE, id="too large"),
        pytest.param("broker/a.rego", "x\0", RULE, id="no text"),
    ],
)
def test_what_must_not_be_written_is_not(folder: Path, name: str, text: str, was: str) -> None:
    """Nothing changes, here or there."""
    with Scratch(folder) as scratch:
        state = scratch.state
        with pytest.raises(CannotEdit):
            scratch.edit(name, text, was=tag_of(was))
        assert scratch.state == state


def test_what_is_no_policy_folder_is_refused(tmp_path: Path) -> None:
    """With a sentence, and without a copy of it."""
    for wrong in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError), Scratch(wrong):
            pass


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"))))


@settings(max_examples=15, deadline=None)
@given(before=LINES, after=LINES, ended=st.tuples(st.booleans(), st.booleans()))
def test_a_patch_is_what_git_applies(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[str],
    after: list[str],
    ended: tuple[bool, bool],
) -> None:
    """Whatever was there, and however it ends."""
    root = tmp_path_factory.mktemp("git")
    policies = root / "my policies"
    policies.mkdir()
    old, new = (
        "\n".join(["package a", *lines]) + ("\n" if newline else "")
        for lines, newline in zip((before, after), ended, strict=True)
    )
    (policies / "a.rego").write_text(old, encoding="utf-8", newline="")
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True)
    with Scratch(policies) as scratch:
        scratch.edit("a.rego", new, was=tag_of(old))
        patch = scratch.render_patch(find_prefix(policies))
    if old != new:
        subprocess.run([*git, "apply"], input=patch.encode(), check=True, capture_output=True)
    assert (policies / "a.rego").read_bytes() == new.encode()
