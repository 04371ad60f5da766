"""The manifests for Kubernetes say what the broker is: its ports, its paths, and nobody else."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from broker.endpoints.metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
)
from broker.endpoints.proxy import PROXY_PATH
from broker.settings import Settings
from tests.unit.test_compose import ROOT

LISTEN = Settings.model_fields["listen"].default.port
ADMIN = Settings.model_fields["admin"].default.port
PROXY = LISTEN + 1  # an address of its own has no default port
FILES = ("network-policy.yaml", "mesh.yaml")
Manifest = dict[str, Any]


def manifests(*names: str) -> list[Manifest]:
    """What files say."""
    folder = ROOT / "deploy" / "kubernetes"
    return [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]


def network_policies() -> list[Manifest]:
    return [each for each in manifests(*FILES) if each["kind"] == "NetworkPolicy"]


def rules(direction: str) -> list[Manifest]:
    """The rules of all network policies for what comes in (``ingress``), or goes out."""
    return [rule for each in network_policies() for rule in each["spec"].get(direction, [])]


def peers() -> Iterator[Manifest]:
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in rules(direction):
            yield from rule[side]


def ports(rule: Manifest) -> list[int]:
    return [port["port"] for port in rule["ports"]]


def authorized() -> dict[int, Manifest]:
    """The rules of the mesh by their port."""
    (policy,) = [each for each in manifests("mesh.yaml") if each["kind"] == "AuthorizationPolicy"]
    assert policy["spec"]["action"] == "ALLOW"
    return {
        int(port): rule
        for rule in policy["spec"]["rules"]
        for to in rule["to"]
        for port in to["operation"]["ports"]
    }


def test_each_is_about_the_broker_s_pods() -> None:
    """An empty selector would be every pod of the namespace."""
    selectors = [
        each["spec"].get("podSelector", each["spec"].get("selector")) for each in manifests(*FILES)
    ]

    assert len(selectors) > 4
    assert all(each == {"matchLabels": {"app": "broker"}} for each in selectors)


def test_what_no_rule_names_is_refused() -> None:
    """A policy without rules, for both directions, is what makes the others the only way."""
    deny = network_policies()[0]

    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny["spec"].keys()


def test_the_network_policy_opens_the_ports_that_the_broker_has() -> None:
    """A rule for another port would shut the broker off, or leave a door open."""
    assert [ports(rule) for rule in rules("ingress")] == [[LISTEN], [PROXY], [ADMIN]]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_rule_says_who_and_which_port(direction: str) -> None:
    """A rule without peers, or without ports, means all of them."""
    side = "from" if direction == "ingress" else "to"
    for rule in rules(direction):
        assert rule.keys() == {side, "ports"}
        assert rule[side]
        assert rule["ports"]
        assert all(port.keys() == {"protocol", "port"} for port in rule["ports"])


def test_a_peer_is_named_by_labels_or_by_addresses() -> None:
    """An empty selector would be everybody, and a misspelt one is ignored by some tools."""
    for peer in peers():
        (kind,) = peer
        assert kind in {"podSelector", "namespaceSelector", "ipBlock"}
        assert peer[kind].get("matchLabels") or peer[kind]["cidr"]


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "172.20.0.1", "192.168.1.1"])
def test_no_address_inside_is_reached_by_the_rule_for_the_internet(address: str) -> None:
    """The credentials of a cloud's machines are at a link-local address."""
    (block,) = [peer["ipBlock"] for peer in peers() if "ipBlock" in peer]

    assert ip_address(address) in ip_network(block["cidr"])
    assert any(ip_address(address) in ip_network(each) for each in block["except"])


def test_the_mesh_takes_nothing_but_mutual_tls() -> None:
    """The default takes plain text as well."""
    (policy,) = [each for each in manifests("mesh.yaml") if each["kind"] == "PeerAuthentication"]

    assert policy["spec"]["mtls"] == {"mode": "STRICT"}
    assert "portLevelMtls" not in policy["spec"]


def test_the_mesh_knows_the_ports_and_names_each_who_comes() -> None:
    """By a whole identity: a pattern would let in who is not meant."""
    by_port = authorized()

    assert by_port.keys() == {LISTEN, PROXY, ADMIN}
    for rule in by_port.values():
        (source,) = rule["from"]
        principals = source["source"]["principals"]
        assert principals
        assert not any("*" in each for each in principals)


def test_the_mesh_lets_through_the_paths_that_there_are() -> None:
    """All of them, or a client could not come; and of the admin listener only the metrics."""
    allowed = {port: rule["to"][0]["operation"]["paths"] for port, rule in authorized().items()}
    paths = {
        LISTEN: [TOKEN_PATH, INTROSPECTION_PATH, REVOCATION_PATH, JWKS_PATH],
        PROXY: [PROXY_PATH],
    }
    for port, known in paths.items():
        for path in known:
            assert any(matches(path, pattern) for pattern in allowed[port]), path
        for pattern in allowed[port]:
            assert any(matches(path, pattern) for path in known), pattern
    assert allowed[ADMIN] == ["/metrics"]


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern of the mesh is for this path: the same, or its beginning before a star."""
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
