"""C2SP tlog-witness: what a witness signs, and what it is believed."""

from datetime import timedelta

import pytest

from broker.audit.note import parse_note, verify_note
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.sink import SinkUnavailable
from broker.audit.publish.witness import WitnessSink
from broker.errors import ConfigurationError
from broker.issuers.fetch import build_tls
from tests.fixtures.postgres import execute
from tests.loopback import http_answer, loopback
from tests.sealing import KEYS, go_back, seal_now, write_rows
from tests.witness import ED25519_KEY, MLDSA_KEY, witness

AT_ONCE = timedelta(0)


@pytest.mark.parametrize("key", [ED25519_KEY, MLDSA_KEY], ids=["ed25519", "ml-dsa-44"])
async def test_a_witness_signs_what_only_adds_to_what_it_has_signed(log, base, key):
    """C2SP tlog-witness: with a proof from its last size; what it signed is kept and verifies."""
    outbox = Outbox(log)
    async with witness(KEYS.public) as seen:
        sink = WitnessSink(seen.url, str(key), build_tls())
        assert 1 == await sink.catch_up(outbox, AT_ONCE)
        assert 0 == await sink.catch_up(outbox, AT_ONCE)
        await write_rows(log)
        await seal_now(log)
        assert 1 == await sink.catch_up(outbox, AT_ONCE)

    assert [9, 12] == seen.signed
    assert [200, 200] == seen.statuses
    rows = execute(base.auditor_url, "SELECT * FROM audit_cosignature ORDER BY size")
    assert [(9, key.name), (12, key.name)] == [(row["size"], row["name"]) for row in rows]
    note = (await outbox.newest(AT_ONCE)).note + rows[1]["line"] + "\n"
    assert key in verify_note(parse_note(note), [*KEYS.public, key])


@pytest.mark.parametrize(
    "vkey",
    [
        pytest.param("witness.test+00000000+BAAA", id="no-key"),
        pytest.param(str(KEYS.public[0]), id="key-of-a-log"),
        pytest.param(f"{ED25519_KEY}\n{MLDSA_KEY}", id="two-keys"),
    ],
)
def test_what_is_no_key_of_a_witness_is_a_mistake_in_the_configuration(vkey):
    """Ours: at start, and by `broker check`; a plain Ed25519 key signs no time."""
    with pytest.raises(ConfigurationError, match=r"audit\.checkpoints\.witnesses\[\]\.vkey"):
        WitnessSink("https://witness.test", vkey, build_tls())


async def test_a_witness_is_told_where_it_stands(log, base):
    """C2SP tlog-witness: 409 has the size to begin at, after a crash here or a restore there."""
    outbox = Outbox(log)
    async with witness(KEYS.public) as seen:
        sink = WitnessSink(seen.url, str(ED25519_KEY), build_tls())
        await sink.catch_up(outbox, AT_ONCE)
        execute(
            base.superuser_url,
            "UPDATE audit_cursor SET position = 3 WHERE name ~ 'witness'",
        )
        await write_rows(log)
        await seal_now(log)
        assert 1 == await sink.catch_up(outbox, AT_ONCE)

    assert [200, 409, 200] == seen.statuses


async def test_a_witness_that_has_seen_more_does_not_sign(log, base):
    """Issue: a restored backup is not witnessed; the witness keeps the proof of what there was."""
    outbox = Outbox(log)
    async with witness(KEYS.public) as seen:
        sink = WitnessSink(seen.url, str(ED25519_KEY), build_tls())
        await sink.catch_up(outbox, AT_ONCE)
        go_back(base, 3)
        await write_rows(log)
        await seal_now(log)
        with pytest.raises(SinkUnavailable, match="it has signed size 9, beyond 6"):
            await sink.catch_up(outbox, AT_ONCE)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(http_answer(b"no\n", status="403 No"), "answers 403", id="unknown-key"),
        pytest.param(
            http_answer(b"x\n", status="409 No"), "which size", id="conflict-without-size"
        ),
        pytest.param(http_answer(b"9" * 40, status="409 No"), "which size", id="absurd-size"),
        pytest.param(http_answer("— w AAAAAAAA\n".encode()), "does not sign", id="stranger"),
        pytest.param(http_answer(b"a" * 20_000), "too long", id="too-long"),
        pytest.param(http_answer(b""), "does not sign", id="empty"),
        pytest.param(http_answer(b"", status="302 Go", location="/x"), "302", id="redirect"),
        pytest.param(b"nonsense", "RemoteProtocolError", id="not-http"),
    ],
)
async def test_a_witness_that_answers_wrongly_has_not_signed(log, answer, said):
    """Ours: nothing of it is kept, it is told in a line, and it is asked again later."""
    async with loopback({"/add-checkpoint": answer}) as server:
        sink = WitnessSink(server.url(""), str(ED25519_KEY), build_tls())
        with pytest.raises(SinkUnavailable, match=said):
            await sink.catch_up(Outbox(log), AT_ONCE)

    assert 0 == await Outbox(log).cursor(sink.name)
