"""What ``upstreams`` and ``proxy`` may say: nothing that shows a client's secret to the network."""

from typing import Any

import pytest
import yaml

from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings
from tests.configuration import document

GOOD: dict[str, Any] = {
    "name": "idp",
    "token_endpoint": "https://idp.test/token",
    "clients": ["checkout"],
}


def load(
    tmp_path, *others: dict[str, Any], proxy: Any = None, host: str = "127.0.0.1", **upstream: Any
) -> Settings:
    """The test configuration with upstreams; ``None`` leaves a key out."""
    first = {name: value for name, value in (GOOD | upstream).items() if value is not None}
    body = document(
        listen={"host": host, "port": 8080}, upstreams=[first, *others], proxy=proxy or {}
    )
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(body))
    return load_settings(path, {})


def test_by_default_it_is_nowhere_and_forwards_nothing_else(tmp_path):
    """Deny by default."""
    settings = load(tmp_path)
    (upstream,) = settings.upstreams

    assert ((), False, 3.0, 0.1) == (
        upstream.parameters,
        upstream.allow_private_network,
        upstream.timeout.total_seconds(),
        upstream.margin,
    )
    assert (None, False, 64) == (
        settings.proxy.listen,
        settings.proxy.mesh_terminates_tls,
        settings.proxy.memory,
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"token_endpoint": None, "issuer": "https://idp.test"}, id="by-metadata"),
        pytest.param({"clients": ["*"]}, id="any-client"),
        pytest.param({"clients": ["https://client.test/é"]}, id="an-id-of-another-provider"),
        pytest.param({"clients": []}, id="no-client-yet"),
        pytest.param(
            {"token_endpoint": "http://127.0.0.1:9/t", "allow_private_network": True}, id="loopback"
        ),
        pytest.param({"proxy": {"mesh_terminates_tls": True}, "host": "0.0.0.0"}, id="mesh"),
        pytest.param(
            {"proxy": {"listen": {"host": "127.0.0.1", "port": 8081}}, "host": "0.0.0.0"},
            id="an-address-of-its-own",
        ),
        pytest.param({"margin": 0, "timeout": "10s"}, id="bounds"),
        pytest.param(
            {"proxy": {"store": {"url": "rediss://:p@r.test:6379/0", "key_file": "k"}}}, id="store"
        ),
        pytest.param(
            {"proxy": {"store": {"url": "redis://127.0.0.1:6379", "key_file": "k"}}},
            id="store-on-loopback",
        ),
    ],
)
def test_the_honest_twins_start(tmp_path, changes):
    """Each fault below is the only one in its document."""
    assert "idp" == load(tmp_path, **changes).upstreams[0].name


@pytest.mark.row("ATK-CFG-01", "ATK-SSRF-01")
@pytest.mark.parametrize(
    ("key", "changes"),
    [
        pytest.param("upstreams[0]", {"token_endpoint": None}, id="asked-nowhere"),
        pytest.param("upstreams[0]", {"issuer": "https://idp.test"}, id="asked-twice"),
        pytest.param(
            "upstreams[0].token_endpoint", {"token_endpoint": "http://idp.test/t"}, id="plain-http"
        ),
        pytest.param(
            "upstreams[0].token_endpoint",
            {"token_endpoint": "http://127.0.0.1/t"},
            id="loopback-that-is-not-allowed",
        ),
        pytest.param("upstreams[0].clients", {"clients": None}, id="no-word-on-clients"),
        pytest.param("upstreams[0].clients", {"clients": ["*", "a"]}, id="any-and-one"),
        pytest.param("upstreams[0].clients[0]", {"clients": [""]}, id="empty-client"),
        pytest.param("upstreams[0].name", {"name": "a/b"}, id="name-that-is-two-segments"),
        pytest.param(
            "upstreams[0].parameters[0]", {"parameters": ["client_secret"]}, id="own-parameter"
        ),
        pytest.param("upstreams[0].parameters[0]", {"parameters": ["*"]}, id="any-parameter"),
        pytest.param("upstreams[0].timeout", {"timeout": "11s"}, id="too-patient"),
        pytest.param("upstreams[0].margin", {"margin": 0.6}, id="margin-beyond-half"),
        pytest.param("proxy.mesh_terminates_tls", {"host": "0.0.0.0"}, id="plain-in-the-network"),
        pytest.param(
            "proxy.mesh_terminates_tls",
            {"proxy": {"listen": {"host": "192.0.2.1", "port": 8081}}},
            id="own-address-in-the-network",
        ),
        pytest.param(
            "proxy.listen.port", {"proxy": {"listen": {"port": 8080}}}, id="port-of-the-other"
        ),
        pytest.param("proxy.memory", {"proxy": {"memory": 0}}, id="no-memory"),
        pytest.param(
            "proxy.store.url",
            {"proxy": {"store": {"url": "redis://r.test:6379", "key_file": "k"}}},
            id="store-in-plain",
        ),
        pytest.param(
            "proxy.store.url",
            {"proxy": {"store": {"url": "http://r.test:6379", "key_file": "k"}}},
            id="store-of-another-kind",
        ),
        pytest.param(
            "proxy.store.key_file",
            {"proxy": {"store": {"url": "redis://127.0.0.1:6379"}}},
            id="store-without-a-secret",
        ),
        pytest.param("upstreams[0].typo", {"typo": 1}, id="unknown-key"),
    ],
)
def test_what_is_unsafe_or_ambiguous_does_not_start(tmp_path, key, changes):
    """And the message names the key."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **changes)

    assert [key] == [line.partition(":")[0] for line in str(caught.value).splitlines()]


def test_two_upstreams_have_two_names(tmp_path):
    """The name is where a client sends its secret."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GOOD | {"token_endpoint": "https://other.test/token"})

    assert str(caught.value).startswith("upstreams[1].name: is the same as upstreams[0].name")


def test_without_upstreams_nothing_has_to_be_said_of_tls(tmp_path):
    """Whoever does not use the proxy is asked nothing."""
    path = tmp_path / "broker.yaml"
    path.write_text(yaml.safe_dump(document(listen={"host": "0.0.0.0", "port": 8080})))

    assert () == load_settings(path, {}).upstreams
