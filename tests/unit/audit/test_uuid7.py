"""RFC 9562 §5.7: ids that carry their time and never meet."""

import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.uuid7 import build_uuid7, name_uuid7, time_of_uuid7

MANY = """
from datetime import UTC, datetime
from broker.audit.uuid7 import build_uuid7
for _ in range(25_000):
    print(build_uuid7(lambda: datetime(2026, 1, 1, tzinfo=UTC)))
"""


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 — the strategy adds the zone
def test_an_id_is_a_version_7_of_its_time(at):
    """RFC 9562 §5.7: version, variant, and the milliseconds in front."""
    made = UUID(build_uuid7(lambda: at))

    assert 7 == made.version
    assert "specified in RFC 4122" == made.variant
    assert int(at.timestamp() * 1000) == made.int >> 80
    assert abs((time_of_uuid7(str(made)) - at).total_seconds()) <= 0.001


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 — likewise
    st.text(),
)
def test_a_named_id_is_of_its_time_and_always_the_same(at, name):
    """What is found again is written once, and stands among the rows of its time."""
    made = UUID(name_uuid7(at, name))

    assert 7 == made.version
    assert int(at.timestamp() * 1000) == made.int >> 80
    assert made == UUID(name_uuid7(at, name))
    assert made != UUID(name_uuid7(at, f"{name}."))


@pytest.mark.row("OA-10-01")
def test_of_a_hundred_thousand_in_four_processes_none_is_twice():
    """RFC 6749 §10.10: 74 random bits, also within one and the same millisecond."""
    processes = [
        subprocess.Popen([sys.executable, "-c", MANY], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ids = [line for process in processes for line in process.communicate()[0].split()]

    assert 100_000 == len(ids) == len(set(ids))


@pytest.mark.row("OA-10-01")
def test_74_bits_of_an_id_are_chance():
    """RFC 9562 §5.7: every bit but time, version and variant takes both values."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = [UUID(build_uuid7(lambda: at)).int for _ in range(200)]
    ones, zeros = 0, 0
    for value in made:
        ones |= value
        zeros |= ~value

    assert 74 == (ones & zeros & (1 << 128) - 1).bit_count()
