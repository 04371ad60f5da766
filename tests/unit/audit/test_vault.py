"""What identifies a person is sealed, and opens only with every key of its record."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.event import build_event, columns_of
from broker.audit.outcome import build_administration, build_issued
from broker.audit.vault import LIFE, OPERATOR, SOURCE, Unreadable, Vault, open_personal
from tests.audit import attempt, new_id, now, signed_token
from tests.builders import BROKER, IDP

SECRET = b"s" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def vault(clock):
    return Vault(SECRET, issuer=BROKER, monotonic=clock)


def record(**personal):
    return {
        "version": 1,
        "kind": "exchange",
        "id": new_id(),
        "at": "2026-01-02T03:04:05.000000Z",
        "outcome": "issued",
        "personal": personal,
    }


def party(subject, issuer=IDP):
    return {"issuer": issuer, "subject": subject}


def opened(sealed, keys):
    return open_personal(sealed["personal"], sealed["id"], [key.key for key in keys])


names = st.text(max_size=40).map(lambda text: f"person-{text}")


@given(subject=names, actor=names, source=names, claim=names)
def test_nothing_personal_is_in_what_is_hashed(subject, actor, source, claim):
    """Design 7: subject, actors, address, policy input: none of it, in no spelling of JSON."""
    vault = Vault(SECRET, issuer=BROKER, monotonic=lambda: 0.0)
    plain = record(
        subject=party(subject),
        actors=[party(actor)],
        source=source,
        policy_input={"subject": {"claims": {"name": claim}}},
    )
    event = build_event(plain, vault)
    hashed = event.record.decode()

    for value in (subject, actor, source, claim):
        assert value not in hashed
        assert json.dumps(value)[1:-1] not in hashed
        assert value not in str(event.columns)
    assert plain["personal"] == opened(json.loads(hashed), event.keys)


def test_a_person_has_one_pseudonym_and_another_audit_key_gives_another(vault, clock):
    """Rows of one person are found; without the key nobody can try names."""
    other = Vault(b"t" * 32, issuer=BROKER, monotonic=clock)

    assert vault.pseudonym("alice") == vault.pseudonym("alice")
    assert 4 == len({f.pseudonym(name) for f in (vault, other) for name in ("alice", "alice ")})


def test_clients_stand_as_they_are_and_persons_do_not(vault):
    """Our own issuer names clients; a workload that acts for itself is one."""
    sealed, keys = vault.seal(
        record(subject=party("alice"), actors=[party("checkout", BROKER), party("bob")])
    )

    assert party(vault.pseudonym("alice")) == sealed["subject"]
    assert [party("checkout", BROKER), party(vault.pseudonym("bob"))] == sealed["actors"]
    assert [(IDP, vault.pseudonym(name)) for name in ("alice", "bob")] == [
        (key.issuer, key.person) for key in keys
    ]


@pytest.mark.parametrize(
    ("personal", "kind", "issuer"),
    [
        pytest.param({"source": "192.0.2.1"}, "exchange", SOURCE, id="nobody-yet"),
        pytest.param({"sources": {"192.0.2.1": 3}}, "refusals", SOURCE, id="counted"),
        pytest.param({"by": "operator carol"}, "administration", OPERATOR, id="operator"),
        pytest.param({"by": "broker"}, "administration", SOURCE, id="the-broker-itself"),
        pytest.param(
            {"subject": party("svc", BROKER), "source": "x"}, "exchange", SOURCE, id="a-client"
        ),
    ],
)
def test_every_record_has_somebody_whose_key_it_is(vault, personal, kind, issuer):
    """What no person is in can be erased as well: by the address, or by who administers."""
    _, keys = vault.seal(record(**personal) | {"kind": kind})

    assert [issuer] == [key.issuer for key in keys]


def test_each_address_of_a_counted_row_erases_it(vault):
    """Who is named there is named beside strangers, and has nothing else to be erased by."""
    sources = {"192.0.2.1": 3, "2001:db8::/64": 2}
    _, keys = vault.seal(record(sources=sources) | {"kind": "refusals"})

    assert [(SOURCE, vault.pseudonym(name)) for name in sources] == [
        (key.issuer, key.person) for key in keys
    ]


def test_all_addresses_of_an_ipv6_network_are_one_person(vault):
    """A household has a /64, and its devices a new address each day; counted rows say no more."""
    _, (key,) = vault.seal(record(source="2001:db8::1"))

    assert vault.pseudonym("2001:db8::/64") == key.person
    for name in ("2001:db8::1", "2001:db8::2", "2001:db8::/64"):
        assert key.person == vault.person(SOURCE, name)
    assert vault.pseudonym("2001:db8::1") == vault.person(IDP, "2001:db8::1")


def test_it_takes_the_keys_of_all_persons(vault):
    """To destroy one is to erase the whole of it."""
    sealed, (alice, bob) = vault.seal(record(subject=party("alice"), actors=[party("bob")]))

    assert "alice" == opened(sealed, (alice, bob))["subject"]["subject"]
    for some in ((alice,), (bob,), (bob, alice), ()):
        with pytest.raises(Unreadable):
            opened(sealed, some)


def test_what_was_moved_or_changed_does_not_open(vault):
    """A part of another record, and a key of another person."""
    first, keys = vault.seal(record(subject=party("alice")))
    second, _ = vault.seal(record(subject=party("alice")))
    key = keys[0]

    with pytest.raises(Unreadable):
        open_personal(first["personal"], second["id"], [key.key])
    with pytest.raises(Unreadable):
        open_personal(first["personal"][:-4] + "AAA=", first["id"], [key.key])
    assert key.key == vault.unwrap(key.id, key.issuer, key.person, key.wrapped)
    for other in (
        replace(key, id=b"x" * 16),
        replace(key, issuer="https://other.test"),
        replace(key, person=vault.pseudonym("bob")),
        replace(key, wrapped=key.wrapped[:-1] + b"x"),
        replace(key, wrapped=b""),
    ):
        with pytest.raises(Unreadable):
            vault.unwrap(other.id, other.issuer, other.person, other.wrapped)


def test_a_key_is_used_for_five_minutes(vault, clock):
    """So that what is written after an erasure is soon under another one."""
    first = vault.seal(record(subject=party("alice")))[1]
    clock.now = LIFE - 1
    same = vault.seal(record(subject=party("alice")))[1]
    clock.now = LIFE
    new = vault.seal(record(subject=party("alice")))[1]

    assert first == same
    assert first != new


def test_a_record_of_a_writer_has_nothing_to_seal(vault):
    """It names a process."""
    plain = {"version": 1, "kind": "writer", "id": new_id(), "at": "2026-01-02T03:04:05.000000Z"}

    assert ({**plain, "version": 2}, ()) == vault.seal(plain)


def test_the_columns_are_extracts_of_the_sealed_record(vault):
    """What verification compares needs no key."""
    made = attempt()
    event = build_issued(made, signed_token(made), issuer=BROKER, vault=vault)
    plain = build_issued(made, signed_token(made), issuer=BROKER)

    assert event.columns == columns_of(json.loads(event.record))
    assert vault.pseudonym("alice") in event.columns
    assert "alice" in plain.columns


def test_nothing_prints_a_key(vault):
    """Neither the vault, nor a key, nor an event."""
    event = build_administration(
        "test", {}, id=new_id(), at=now(), by="operator carol", vault=vault
    )
    (key,) = event.keys

    for shown in (repr(vault), repr(key), repr(event)):
        assert repr(key.key)[2:-1] not in shown
        assert repr(key.wrapped)[2:-1] not in shown


def test_whoever_searches_records_for_tokens_finds_none(vault):
    """Scanners look for how a JWS begins; ciphertext must not have it by chance."""
    texts = [json.dumps(vault.seal(record(source=f"{n}" * 900))[0]) for n in range(400)]

    assert [] == [text for text in texts if "eyJ" in text]
