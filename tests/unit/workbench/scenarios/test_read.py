"""What is written is what is asked; what cannot be read is said with its line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import Reason
from broker.workbench.scenarios.document import MAX_BYTES, ScenarioFileError
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.sheet import NOON
from tests.configuration import document
from tests.unit.workbench.scenarios.writing import SETTING, read, refusal, write

BROKER = "https://broker.example"


def test_a_scenario_is_a_question_and_its_answer(tmp_path: Path) -> None:
    """Names become identities, texts lists, and a source is read beside its scope."""
    file = read(
        tmp_path,
        """\
        scenarios:
          - name: It sees the stock
            given: {chain: [inventory, "idp:robot"], claims: {acr: mfa}, age: 5m}
            when: {asks: stock.read, at: 2026-03-02 10:00, source: 10.0.0.1}
            then: {granted: [stock.read from orders.write], chain: checkout}
        """,
    )
    (scenario,) = file.scenarios
    (step,) = scenario.steps

    assert ("It sees the stock", 10) == (scenario.name, scenario.line)
    assert ("https://idp.example", "alice") == (scenario.subject.issuer, scenario.subject.subject)
    assert scenario.subject.scopes == {"orders.write"}
    assert scenario.subject.chain == (
        Principal(BROKER, "inventory"),
        Principal("https://idp.example", "robot"),
    )
    assert (2, timedelta(minutes=5)) == (scenario.subject.depth, scenario.subject.age)
    assert step.request.at == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert ("checkout", ("inventory",), ("stock.read",)) == (
        step.request.client,
        step.request.audiences,
        step.request.scopes,
    )
    assert step.then.granted == {"stock.read": "orders.write"}
    assert step.then.chain == (Principal(BROKER, "checkout"),)
    assert 13 == step.line


def test_a_row_is_the_same_in_one_line(tmp_path: Path) -> None:
    """Defaults fill what it does not say, and it needs no heading."""
    file = read(
        tmp_path,
        """\
        rows:
          - {asks: inventory.read, holds: inventory.read, then: granted}
          - {asks: stock.read, then: refused because policy.scope_not_held}
        """,
    )
    first, second = file.scenarios

    assert first.subject.scopes == {"inventory.read"}
    assert first.steps[0].then.granted == {"inventory.read": None}
    assert second.subject.scopes == {"orders.write"}
    assert second.steps[0].then.refused is Reason.POLICY_SCOPE_NOT_HELD
    assert "checkout asks inventory for stock.read, for idp:alice with orders.write" == second.name
    assert NOON == second.steps[0].request.at


@pytest.mark.parametrize(
    "written",
    [
        "[a, b from c, d]",
        "a, b from c, d",
        "a b from c d",
        "[a, b  from   c, d]",
    ],
)
def test_sources_are_read_however_scopes_are_listed(tmp_path: Path, written: str) -> None:
    """A list or one text, with commas or without."""
    then = written if written.startswith("[") else f'"{written}"'
    (one,) = read(tmp_path, f"rows:\n  - {{asks: a, then: {{granted: {then}}}}}\n").scenarios

    assert {"a": None, "b": "c", "d": None} == one.steps[0].then.granted


def test_an_actor_token_is_the_client_s_own_unless_it_says_otherwise(tmp_path: Path) -> None:
    """What is usual need not be written."""
    file = read(
        tmp_path,
        """\
        rows:
          - {asks: stock.read, actor: {subject: "idp:robot"}, then: refused policy.denied}
        """,
    )
    actor = file.scenarios[0].steps[0].request.actor

    assert actor is not None
    assert ("checkout", (BROKER,)) == (actor.client_id, actor.audiences)


def test_a_configuration_says_who_there_is_and_its_secrets_are_not_asked_for(
    tmp_path: Path,
) -> None:
    """A reviewer's machine has no database and no keys."""
    whole = document(database={"url": "${DATABASE_URL}"}, keys={"kek_file": "absent"})
    whole["clients"][0]["secrets"] = ["${NOBODY_HAS_SET_THIS}"]
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(whole))
    rows = '- {subject: "idp:a", client: svc-a, target: svc-b, asks: orders.read, then: granted}'
    found = read(tmp_path, f"rows:\n  {rows}\n", "title: One\n")
    named = read(tmp_path, f"rows:\n  {rows}\n", "title: One\nsetting: broker.yaml\n")

    assert found.settings == named.settings
    assert 3 == found.settings.max_targets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "rows:\n  - {askes: a, then: granted}\n",
            ["10: rows[0].askes: is not a known key; write asks"],
            id="misspelt key",
        ),
        pytest.param(
            "rows:\n  - {asks: a, then: refused because policy.scope_not_hold}\n",
            ["10: rows[0].then.refused: is no reason; write policy.scope_not_held"],
            id="misspelt reason",
        ),
        pytest.param(
            "rows:\n  - {asks: a, then: perhaps}\n",
            [
                (
                    "10: rows[0].then: write granted, granted and scopes, or:"
                    " refused because policy.scope_not_held"
                )
            ],
            id="no outcome",
        ),
        pytest.param(
            "rows:\n  - {asks: a}\n", ["10: rows[0].then: is required"], id="nothing must come out"
        ),
        pytest.param(
            "rows:\n  - {then: granted}\n",
            ["10: rows[0].then: say what is granted: nothing is asked for by name"],
            id="granted what",
        ),
        pytest.param(
            "rows:\n  - asks: a\n    then: {granted: a, refused: policy.denied}\n",
            ["11: rows[0].then.granted: does not go with refused; remove one"],
            id="both",
        ),
        pytest.param(
            "rows:\n  - {client: chekout, asks: a, then: granted}\n",
            ["10: rows[0].client: chekout is no client; there are: checkout, inventory"],
            id="nobody asks",
        ),
        pytest.param(
            "rows:\n  - {subject: 'ipd:a', asks: a, then: granted}\n",
            ["10: rows[0].subject: ipd is no issuer; there are: ci, idp, self"],
            id="nobody's subject",
        ),
        pytest.param(
            "rows:\n  - {asks: a, at: noon, then: granted}\n",
            [
                (
                    "10: rows[0].at: write a time like 2026-01-14T12:00:00Z;"
                    " without an offset it is UTC"
                )
            ],
            id="no time",
        ),
        pytest.param(
            "rows:\n  - {asks: a, age: 5 minutes, then: granted}\n",
            ["10: rows[0].age: write a duration like 90s, 5m, 24h or 30d"],
            id="no duration",
        ),
        pytest.param(
            "rows:\n  - {asks: a, then: granted, asks: b}\n",
            ["10: rows[0].asks: is written twice (again in line 10); remove one"],
            id="repeated key",
        ),
        pytest.param(
            "scenarios:\n  - given: {holds: a}\n    then: granted a\n",
            ["10: scenarios[0].name: is required"],
            id="no heading",
        ),
        pytest.param(
            "scenarios:\n  - name: x\n    when: {asks: a}\n    then: granted a\n    onward:\n"
            "      - {when: {client: inventory, at: 2026-01-14}, then: granted a}\n",
            [
                (
                    "14: scenarios[0].onward[0].when.at: is the time of the step before, and after;"
                    " remove it, or write after"
                )
            ],
            id="another clock",
        ),
        pytest.param(
            "rows: []\n", ["1: configuration: asks nothing; write scenarios or rows"], id="none"
        ),
        pytest.param(
            "rows: [\n",
            ["10: is not valid YAML (expected the node content, but found '<stream end>')"],
            id="no YAML",
        ),
        pytest.param(
            "rows:\n  - !!python/object:os.system {}\n",
            ["10: rows[0].then: is required"],
            id="an object",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_with_its_line(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    """And with what to write instead."""
    assert said == refusal(tmp_path, text)


def test_what_is_wrong_with_the_setting_is_said_where_it_stands(tmp_path: Path) -> None:
    """A party by its name, though the broker knows it by its place."""
    setting = SETTING.replace("scopeless: true", "scopless: true").replace(
        "[checkout]", "[chekout]"
    )
    said = refusal(tmp_path, "rows: [{asks: a, then: granted}]\n", setting)

    assert ["3: setting.issuers.ci.scopless: is not a known key; write scopeless"] == said[:1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"title: \xff\xfe", id="no UTF-8"),
        pytest.param(b"", id="empty"),
        pytest.param(b"- a\n", id="no mapping"),
        pytest.param(b"a: &a [*a]\n", id="an alias inside itself"),
        pytest.param(b"x: " + b"[" * 5000, id="nested without end"),
        pytest.param(b"#" * (MAX_BYTES + 1), id="too large"),
        pytest.param(
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10))
                for n in range(8)
            ),
            id="ten times ten times ten",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    """Within bounds, and named."""
    path = tmp_path / "a.scenarios.yaml"
    path.write_bytes(text)

    with pytest.raises(ScenarioFileError, match=r"a\.scenarios\.yaml"):
        read_scenarios(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["title", "rows", "then", "setting", "defaults", "given", "x"]),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_file_is_more_than_refused(tmp_path: Path, content: object) -> None:
    """Whatever it holds: it is read, or said."""
    path = tmp_path / "any.scenarios.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        assert read_scenarios(path).scenarios
    except ScenarioFileError as error:
        assert str(path) in str(error)


def test_files_are_found_below_a_folder_and_not_behind_a_dot(tmp_path: Path) -> None:
    """Each once, in order; a place that is not there is told."""
    for name in ("b/two.scenarios.yaml", "a.scenarios.yaml", ".git/x.scenarios.yaml", "data.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "b" / "circle").symlink_to(tmp_path)
    one = tmp_path / "a.scenarios.yaml"

    assert [one, tmp_path / "b" / "two.scenarios.yaml"] == find_scenario_files([tmp_path, one])
    with pytest.raises(ScenarioFileError, match="no such file"):
        find_scenario_files([tmp_path / "nowhere"])


def test_a_written_file_comes_back(tmp_path: Path) -> None:
    """The helper of these tests writes what the reader reads."""
    assert write(tmp_path, "rows: [{asks: a, then: granted}]\n").is_file()
