"""What scripts/install_oauth_clients.py installs is what was pinned, or nothing of it runs."""

import json
from hashlib import sha256

import pytest

from scripts import install_oauth_clients as script
from scripts.install_opa import Failed
from tests.clients.libraries import SOURCES

PINS = {"jose": "sha512-aaaa", "oauth4webapi": "sha512-bbbb"}


@pytest.fixture
def unpacked(tmp_path):
    """A folder in which npm has noted what it unpacked."""

    def note(integrity):
        packages = {f"node_modules/{name}": {"integrity": it} for name, it in integrity.items()}
        (tmp_path / "node_modules").mkdir()
        listing = tmp_path / "node_modules" / ".package-lock.json"
        listing.write_text(json.dumps({"packages": packages}))
        return tmp_path

    return note


def test_pinned_packages_are_taken(unpacked):
    """The twin of the test below."""
    script.check_javascript(unpacked(PINS), PINS)


@pytest.mark.parametrize(
    ("found", "named"),
    [
        pytest.param({**PINS, "jose": "sha512-cccc"}, "jose", id="another-tarball"),
        pytest.param({**PINS, "jose": None}, "jose", id="no-hash"),
        pytest.param({**PINS, "left-pad": "sha512-cccc"}, "left-pad", id="one-more"),
        pytest.param({"jose": "sha512-aaaa"}, "oauth4webapi", id="one-less"),
    ],
)
def test_other_packages_are_not(unpacked, found, named):
    """A package that changed, came along or went missing is named, and none is put in place."""
    with pytest.raises(Failed, match=f"not what was pinned: {named}$"):
        script.check_javascript(unpacked(found), PINS)


def test_modules_of_other_hashes_are_not_linked():
    """Go notes in a program what it was made of; one character less and it is not run."""
    listing = "zitadel: go1.26\n\tpath\texchange\n\tdep\tgithub.com/a/b\tv1.0.0\th1:aaaa=\n"
    modules = sha256(b"github.com/a/b\tv1.0.0\th1:aaaa=").hexdigest()

    script.check_go(listing, modules)
    with pytest.raises(Failed, match="not those pinned"):
        script.check_go(listing.replace("aaaa", "aaab"), modules)


def test_every_package_is_pinned_by_version_and_hash():
    """No range, and a hash for each."""
    manifest = json.loads((SOURCES / "package.json").read_text())

    assert manifest["dependencies"].keys() == manifest["integrity"].keys()
    assert all(version[0].isdigit() for version in manifest["dependencies"].values())
