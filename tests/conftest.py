"""Fixtures that the whole suite shares; each lives in the file named after it."""

pytest_plugins = ["tests.fixtures.postgres", "tests.fixtures.opa", "tests.fixtures.http"]
