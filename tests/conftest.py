"""Fixtures that the whole suite shares; each lives in the file named after it."""

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.opa",
    "tests.fixtures.softhsm",
    "tests.fixtures.redis",
    "tests.fixtures.object_store",
    "tests.fixtures.http",
]

# How long one example takes says how busy the machine is, and nothing about the broker.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
