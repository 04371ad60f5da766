"""The engine that the configuration asks for, and policies that change while they are loaded."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle, render_archive
from broker.policy.engine import PolicyEngine, PolicyUnavailable
from broker.policy.load import load_engine
from broker.settings import Policy
from tests.fixtures.opa import OpaServer
from tests.integration.policy.inputs import encoded

RULE = 'package broker.exchange\n\ndecision := {{"allow": {allow}, "fact": data.broker.fact}}\n'
DATA = "fact: {fact}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy that says what is in its files."""
    folder = tmp_path / "policies"
    (folder / "broker").mkdir(parents=True)
    write(folder, 1)
    return folder


def write(folder: Path, number: int) -> None:
    """Put a version of the policy there, rule and fact."""
    (folder / "decision.rego").write_text(RULE.format(allow=f"{number} == {number}"))
    (folder / "broker" / "data.yaml").write_text(DATA.format(fact=number))


def settings(path: Path, **members: object) -> Policy:
    """The section of the configuration."""
    values = {"path": path, "deadline": "5s"} | members
    return Policy.model_validate(values, context={"folder": path.parent})


async def fact(engine: PolicyEngine) -> object:
    """Which version decides."""
    return (await engine.evaluate(b"{}")).output["fact"]


async def test_a_folder_is_compiled(policy_folder: Path, bundle: Bundle):
    """engine: wasm, path: policies."""
    engine = load_engine(settings(policy_folder))
    try:
        evaluation = await engine.evaluate(encoded())
    finally:
        await engine.aclose()

    assert (True, bundle.revision) == (evaluation.output["allow"], evaluation.revision)


async def test_a_built_bundle_is_loaded_without_opa(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The path may be that of a bundle."""
    monkeypatch.setenv("BROKER_OPA", "/nowhere")
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(render_archive(bundle, "wasm"))
    engine = load_engine(settings(path))
    try:
        assert bundle.revision == engine.revision
        assert (await engine.evaluate(encoded())).output["allow"]
    finally:
        await engine.aclose()


async def test_a_server_is_asked(stock_server: OpaServer, bundle: Bundle, tmp_path: Path):
    """engine: opa."""
    engine = load_engine(settings(tmp_path / "unused", engine="opa", url=stock_server.url))
    try:
        assert bundle.revision == (await engine.evaluate(encoded())).revision
    finally:
        await engine.aclose()


async def test_a_server_that_is_down_is_no_configuration_error(tmp_path: Path):
    """The broker starts, is not ready, and answers 503 until it is back."""
    engine = load_engine(settings(tmp_path, engine="opa", url="http://127.0.0.1:9"))
    try:
        assert not engine.available
    finally:
        await engine.aclose()


@pytest.mark.parametrize("kind", ["wasm", "opa"])
async def test_a_closed_engine_decides_nothing(
    kind: str, policy_folder: Path, stock_server: OpaServer
):
    """A reload has closed it; whoever still holds it gets no decision, and nothing is reopened."""
    members = {"engine": "opa", "url": stock_server.url} if kind == "opa" else {}
    engine = load_engine(settings(policy_folder, **members))
    before = (await engine.evaluate(encoded())).output["allow"]
    await engine.aclose()
    with pytest.raises(PolicyUnavailable):
        await engine.evaluate(encoded())
    await engine.aclose()

    assert (True, False) == (before, engine.available)


@pytest.mark.row("OP-04", "DRILL-5")
@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda folder: write_rule(folder, "decision := ("), id="does-not-parse"),
        pytest.param(lambda folder: write_rule(folder, "verdict := 1"), id="decides-nothing"),
        pytest.param(
            lambda folder: write_rule(folder, "decision := time.now_ns()"), id="looks-at-a-clock"
        ),
        pytest.param(
            lambda folder: (folder / "broker" / "data.yaml").write_text("a: b: c"), id="broken-data"
        ),
        pytest.param(shutil.rmtree, id="gone"),
    ],
)
async def test_a_broken_policy_leaves_the_old_engine_as_it_was(
    folder: Path, break_it: Callable[[Path], object]
):
    """OP-04: a new engine is made whole or not at all; the old one decides meanwhile."""
    engine = load_engine(settings(folder))
    try:
        before = engine.revision
        break_it(folder)
        with pytest.raises(ConfigurationError, match=str(folder)):
            load_engine(settings(folder))

        assert (1, before, True) == (await fact(engine), engine.revision, engine.available)
    finally:
        await engine.aclose()


def write_rule(folder: Path, rule: str) -> None:
    """Put another rule in the place of the decision."""
    (folder / "decision.rego").write_text(f"package broker.exchange\n\n{rule}\n")


async def test_a_reload_is_another_engine(folder: Path):
    """OP-04: old and new side by side, each by its own policy, until the old one is closed."""
    old = load_engine(settings(folder))
    write(folder, 2)
    new = load_engine(settings(folder))
    try:
        assert [1, 2] == [await fact(old), await fact(new)]
        assert old.revision != new.revision
        await old.aclose()
        assert 2 == await fact(new)
    finally:
        await old.aclose()
        await new.aclose()


@pytest.mark.row("OP-04")
async def test_a_folder_may_be_written_while_it_is_compiled(folder: Path):
    """Each bundle is some version of each file; none is half of one, and none fails."""
    stop = threading.Event()

    def edit() -> None:
        number = 1
        while not stop.is_set():
            number = number % 9 + 1
            for name, text in {
                "decision.rego": RULE.format(allow=f"{number} == {number}"),
                "broker/data.yaml": DATA.format(fact=number),
            }.items():
                # As editors do: another file, then its name.
                (folder / f"{name}.new").write_text(text)
                (folder / f"{name}.new").replace(folder / name)

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        bundles = [await asyncio.to_thread(build_bundle, folder) for _ in range(3)]
    finally:
        stop.set()
        editor.join()

    assert all(64 == len(bundle.revision) for bundle in bundles)
