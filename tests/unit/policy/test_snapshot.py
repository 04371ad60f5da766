"""What of a policy folder is taken, and what no folder may have in it."""

import os
import shutil
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.policy.snapshot import MAX_FILES, take_snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small bundle root."""
    made = tmp_path / "policies"
    for name, text in {
        ".manifest": '{"roots": ["broker"]}',
        "broker/exchange/decision.rego": "package broker.exchange\n",
        "broker/grants/data.yaml": "{}\n",
    }.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def refusal(folder: Path) -> str:
    """What is said of a folder that is not taken."""
    with pytest.raises(ConfigurationError) as refused:
        take_snapshot(folder)
    return str(refused.value)


def test_a_snapshot_has_what_opa_reads_and_no_half_written_files(folder: Path):
    """Editors and Kubernetes keep copies under names with a dot; OPA would read them."""
    (folder / "broker" / "exchange" / ".decision.rego.swp").write_text("x")
    (folder / "broker" / "exchange" / ".#decision.rego").write_text("x")
    (folder / "broker" / "exchange" / "decision_test.rego").write_text("x")
    (folder / "..2026_11_24").mkdir()
    (folder / "..2026_11_24" / "old.rego").write_text("x")
    (folder / "README.md").write_text("x")
    names = {".manifest", "broker/exchange/decision.rego", "broker/grants/data.yaml"}

    assert names == set(take_snapshot(folder))


def test_a_snapshot_ends_in_folders_that_hold_themselves(folder: Path):
    """A link to the folder itself is not followed for ever."""
    (folder / "loop").symlink_to(folder)

    assert 3 == len(take_snapshot(folder))


def test_a_mounted_folder_of_links_is_read(folder: Path, tmp_path: Path):
    """As Kubernetes mounts it: links to links to a folder whose name has dots."""
    mounted = tmp_path / "mounted"
    shutil.copytree(folder, mounted / "..2026_11_27")
    (mounted / "..data").symlink_to("..2026_11_27")
    (mounted / "broker").symlink_to("..data/broker")
    (mounted / ".manifest").symlink_to("..data/.manifest")

    assert take_snapshot(folder) == take_snapshot(mounted)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("x.rego", b'package x\n\nx := "\xff"\n', ":3: is not in UTF-8", id="rego"),
        pytest.param("data.yaml", b"a: 1\nb: \xe4\n", ":2: is not in UTF-8", id="yaml"),
        pytest.param("data.json", b"\xfe\xff\x00{", ":1: is not in UTF-8", id="utf-16"),
        pytest.param("data.json", b" " * (9 << 20), "is larger than 8 MiB", id="10-MB-of-data"),
        pytest.param("x.rego", b"#" * (17 << 20), "at ", id="17-MB-of-rules"),
    ],
)
def test_a_file_that_no_policy_can_have_is_named(
    folder: Path, name: str, content: bytes, said: str
):
    """At once, before anything is asked to read it."""
    path = folder / "broker" / name
    path.write_bytes(content)
    refused = refusal(folder)

    assert str(path) in refused
    assert said in refused


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        pytest.param("x.rego", "../outside.rego", "leads out of the folder", id="by-dots"),
        pytest.param("x.rego", "/etc/hostname", "leads out of the folder", id="elsewhere"),
        pytest.param("data.yaml", "../outside.rego", "leads out of the folder", id="data"),
        pytest.param("rules", "/etc", "leads out of the folder", id="a-folder"),
        pytest.param("x.rego", "broker/nothing.rego", "is a link to nothing", id="to-nothing"),
        pytest.param("x.rego", "x.rego", "", id="to-itself"),
    ],
)
def test_a_link_that_leads_nowhere_good_is_refused(folder: Path, name: str, target: str, said: str):
    """Whoever may write there would write the policy; and a rule that is gone denies nothing."""
    (folder.parent / "outside.rego").write_text("package x\n")
    (folder / name).symlink_to(target)
    refused = refusal(folder)

    assert str(folder / name) in refused
    assert said in refused


def test_a_pipe_is_not_waited_for(folder: Path):
    """Nobody may ever write to it."""
    os.mkfifo(folder / "data.yaml")

    assert f"{folder / 'data.yaml'}: is no regular file; put one in its place" == refusal(folder)


def test_a_folder_without_end_is_refused(folder: Path):
    """Somebody's home, by mistake."""
    for number in range(MAX_FILES):
        (folder / f"{number}.rego").touch()

    assert "is larger than" in refusal(folder)
