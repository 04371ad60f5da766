"""The deployment files, as far as they can be judged without a container engine."""

import json
import os
import re
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broker.settings import load_settings

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / ".tools" / "compose-spec.json"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HASHES = {
    "CHECKOUT_SECRET_HASH": "sha256:" + "a" * 64,
    "INVENTORY_SECRET_HASH": "sha256:" + "b" * 64,
}


@pytest.mark.skipif(
    not SCHEMA.exists(),
    reason="not run: the Compose specification's schema is not in .tools/ (make test fetches it)",
)
def test_the_compose_file_is_valid() -> None:
    """Every key is one that the Compose specification knows, with a value of its kind."""
    schema = json.loads(SCHEMA.read_text())
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(COMPOSE))

    assert [] == [f"{error.json_path}: {error.message}" for error in errors]


@pytest.mark.skipif(not SCHEMA.exists(), reason="not run: there is no schema in .tools/")
def test_the_schema_finds_a_misspelt_key() -> None:
    """The honest twin of the test above: a schema that accepts anything shows nothing."""
    broken = COMPOSE | {"services": {"x": {"image": "x", "read_onyl": True}}}
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))

    assert not validator.is_valid(broken)


def test_there_is_what_a_deployment_needs() -> None:
    """PostgreSQL 18, a policy server and a broker twice, a balancer, migrations, a demo issuer."""
    expected = {"postgres", "opa-1", "opa-2", "broker-1", "broker-2", "balancer", "migrate", "idp"}

    assert expected == SERVICES.keys()
    assert "postgres:18" == SERVICES["postgres"]["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_change_nothing_but_its_data(name: str) -> None:
    """Read-only image, no capabilities, no new privileges, and never root."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    # The balancer's image has a user of its own; every other is told one.
    assert name == "balancer" or not str(service["user"]).startswith(("0", "root"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_on_loopback_only(name: str) -> None:
    """What is published to a machine's own address is reached from its neighbours as well."""
    ports = SERVICES[name].get("ports", [])

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not ports or name in {"balancer", "idp"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_when_it_is_ready(name: str) -> None:
    """Whoever waits for it waits for the right thing. A one-shot service ends instead."""
    service = SERVICES[name]
    own = service.get("healthcheck")
    inherited = service.get("build") == "." and "HEALTHCHECK" in DOCKERFILE

    assert own is not None or inherited
    assert name != "migrate" or own == {"disable": True}


def test_what_a_service_waits_for_exists_and_can_come() -> None:
    """Each dependency is a service with the state that is waited for; nothing waits in a ring."""
    waits = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    for name, service in SERVICES.items():
        mode = service.get("network_mode", "")
        if mode.startswith("service:"):
            waits[name].add(mode.removeprefix("service:"))
        for other, condition in service.get("depends_on", {}).items():
            finishes = SERVICES[other].get("healthcheck") == {"disable": True}
            expected = "service_completed_successfully" if finishes else "service_healthy"
            assert expected == condition["condition"], f"{name} waits for {other}"
    started: set[str] = set()
    while ready := {name for name in waits if waits[name] <= started} - started:
        started |= ready

    assert started == SERVICES.keys()


def test_the_replicas_differ_in_nothing_but_their_names() -> None:
    """What is tried on one replica is true of the other."""
    first, second = (
        json.dumps([SERVICES[f"broker-{n}"], SERVICES[f"opa-{n}"]]).replace(f"-{n}", "-N")
        for n in (1, 2)
    )

    assert first == second


def test_every_file_that_is_mounted_is_there_or_is_made() -> None:
    """A missing file would be mounted as an empty folder, and the service fail much later."""
    made = "./deploy/secrets/"  # by deploy/make-secrets
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ] + [secret["file"] for secret in COMPOSE["secrets"].values()]

    assert [] == [
        path for path in mounted if not path.startswith(made) and not (ROOT / path).exists()
    ]


def test_no_secret_is_in_the_environment_or_an_argument() -> None:
    """What stands there is seen by whoever may list processes or inspect a container."""
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN|KEY", name)
            assert not secret or name.endswith(("_FILE", "_HASH")), name
            assert "://" not in str(value), name
    assert not re.search(r"^ARG .*(PASSWORD|SECRET|TOKEN)", DOCKERFILE, re.MULTILINE)


def test_the_brokers_configuration_is_accepted() -> None:
    """deploy/broker.yaml, judged as the broker judges it at start."""
    settings = load_settings(ROOT / "deploy" / "broker.yaml", HASHES)
    subnet = COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"]

    assert [subnet] == [str(network) for network in settings.trusted_proxies]
    assert "opa" == settings.policy.engine
    assert f"http://localhost:{_port('balancer')}" == settings.issuer
    assert "https://idp:8443" in {issuer.issuer for issuer in settings.issuers}


def _port(service: str) -> str:
    return str(SERVICES[service]["ports"][0].split(":")[1])


def test_what_the_configuration_names_is_mounted() -> None:
    """Each path of deploy/broker.yaml exists where the replicas see it."""
    text = (ROOT / "deploy" / "broker.yaml").read_text()
    secrets = set(re.findall(r"/run/secrets/(\w+)", text))
    mounts = {volume.split(":")[1] for volume in SERVICES["broker-1"]["volumes"]}

    assert secrets <= {*SERVICES["broker-1"]["secrets"], *SERVICES["migrate"]["secrets"]}
    assert {"/etc/broker/policies", "/etc/broker/idp", "/etc/broker/broker.yaml"} == mounts


def test_the_balancer_knows_the_replicas() -> None:
    """Both replicas by their alias, on the public port, judged by readiness on the admin port."""
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    aliases = [SERVICES[f"opa-{n}"]["networks"]["inside"]["aliases"][0] for n in (1, 2)]

    assert [(alias, f"{alias}:8080") for alias in aliases] == re.findall(
        r"^    server (\S+) (\S+)$", text, re.MULTILINE
    )
    assert "check port 9090" in text
    assert "uri /health/ready" in text


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="not run: haproxy is not installed")
def test_the_balancer_accepts_its_configuration(tmp_path: Path) -> None:
    """``haproxy -c`` finds nothing to refuse."""
    # The replicas' names are known inside the composition only.
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    path = tmp_path / "haproxy.cfg"
    path.write_text(re.sub(r"broker-([12]):8080", r"127.0.0.\1:8080", text))
    checked = subprocess.run(
        ["haproxy", "-c", "-f", path], capture_output=True, text=True, check=False
    )

    assert 0 == checked.returncode, checked.stderr
    assert "WARNING" not in checked.stderr


def test_the_image_is_nobody_and_needs_no_shell() -> None:
    """Numeric user, and every instruction that runs something is an argument vector."""
    instructions = re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines()
    run = [line for line in instructions if re.match(r"(RUN|CMD|ENTRYPOINT) |HEALTHCHECK ", line)]
    vectors = [line[line.index("[") :] for line in run if "[" in line]

    assert "USER 65532:65532" in instructions
    assert len(run) == len(vectors)
    assert all(isinstance(json.loads(vector), list) for vector in vectors)


def test_the_image_is_built_of_what_the_repository_has() -> None:
    """Each COPY finds its source, and .dockerignore lets it through and nothing else."""
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {source.rstrip("/") for line in sources for source in line.split()}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignore if line.startswith("!")}

    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which ``deploy/make-secrets`` has run."""
    (tmp_path / "deploy").mkdir()
    shutil.copy2(ROOT / "deploy" / "make-secrets", tmp_path / "deploy")
    subprocess.run([tmp_path / "deploy" / "make-secrets"], check=True, capture_output=True)
    return tmp_path


def test_secrets_are_made_for_their_owner_alone(made: Path) -> None:
    """Every file that the composition mounts, readable by one user, each with its own content."""
    folder = made / "deploy" / "secrets"
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}

    assert wanted | {"client_checkout", "client_inventory"} == files.keys()
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in files.values()}
    assert len(files) == len({path.read_bytes() for path in files.values()})


def test_the_broker_is_told_only_the_hash_of_a_client_s_secret(made: Path) -> None:
    """.env has what the configuration takes, and the client's file the secret that fits."""
    lines = dict(line.split("=", 1) for line in (made / ".env").read_text().splitlines())
    secret = (made / "deploy" / "secrets" / "client_checkout").read_bytes()

    assert f"sha256:{sha256(secret).hexdigest()}" == lines["CHECKOUT_SECRET_HASH"]
    assert re.fullmatch(rb"[A-Za-z0-9._~-]{43}", secret)
    assert load_settings(ROOT / "deploy" / "broker.yaml", lines)


def test_secrets_that_exist_are_kept(made: Path) -> None:
    """Another key-encryption key could not open the keys that the database holds."""
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    subprocess.run([made / "deploy" / "make-secrets"], check=True, capture_output=True)

    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.getuid() != 0, reason="not run: only root can hand files to another user")
def test_root_hands_the_secrets_to_nobody(made: Path) -> None:
    """The containers never run as root, also where root starts them."""
    assert "BROKER_USER=65532:65532" in (made / ".env").read_text().splitlines()
    assert {65532} == {path.stat().st_uid for path in (made / "deploy" / "secrets").iterdir()}
