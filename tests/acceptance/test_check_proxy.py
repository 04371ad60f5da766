"""``broker check`` at the token proxy: what is wrong with it is named before it starts."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.diagnosis import Change, configured, diagnose

UPSTREAM = {"name": "idp", "token_endpoint": "https://idp.test/token", "clients": ["checkout"]}
KEY = base64.b64encode(b"p" * 32).decode()


def proxied(key: str = KEY, **upstream: Any) -> Change:
    """An upstream, and a store with this key."""

    def change(document: dict[str, Any], folder: Path) -> None:
        (folder / "proxy.key").write_text(key)
        (folder / "proxy.key").chmod(0o600)
        store = {"url": "redis://127.0.0.1:6379", "key_file": "proxy.key"}
        document.update(upstreams=[UPSTREAM | upstream], proxy={"store": store})

    return change


def without_its_package(document: dict[str, Any], folder: Path) -> None:
    """A policy from before there was a token proxy."""
    proxied()(document, folder)
    shutil.rmtree(folder / "policies" / "broker" / "proxy")


def marks(folder: Path, change: Change) -> dict[str, tuple[str, str]]:
    """Mark and text of each finding, by its subject."""
    found = json.loads(diagnose("check", configured(folder, change)).stdout)["findings"]
    return {each["subject"]: (each["mark"], each["text"]) for each in found}


def test_an_upstream_and_its_policy_are_well(tmp_path):
    """The honest twin."""
    found = marks(tmp_path, proxied())

    assert ("good", "for 1 client") == found["upstream idp"]
    assert ("good", "decides about upstreams") == found["policy of the proxy"]
    assert ("good", "32 bytes") == found["proxy.store.key_file"]


@pytest.mark.parametrize(
    ("change", "subject", "mark", "said"),
    [
        pytest.param(
            without_its_package, "policy of the proxy", "bad", "does not decide", id="no-policy"
        ),
        pytest.param(proxied(ca_file="none.pem"), "upstream idp", "bad", "ca_file", id="no-anchor"),
        pytest.param(proxied(clients=["*"]), "upstream idp", "good", "any client id", id="anybody"),
        pytest.param(proxied("short"), "proxy.store.key_file", "bad", "", id="no-key"),
        pytest.param(
            proxied(base64.b64encode(b"a" * 32).decode()),
            "proxy.store.key_file",
            "warning",
            "is the same key as audit.key_file",
            id="key-of-the-trail",
        ),
    ],
)
def test_what_would_not_work_is_named(tmp_path, change, subject, mark, said):
    """With what to do."""
    found = marks(tmp_path, change)[subject]

    assert mark == found[0]
    assert said in found[1]
