"""Reading ``broker.yaml`` and the environment: strictly, completely, and without an echo."""

import copy
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from broker.errors import ConfigurationError
from broker.settings import load_settings
from tests.configuration import document


@pytest.fixture
def write(tmp_path):
    """Writes ``broker.yaml``: text as it is, anything else as YAML."""

    def write(content) -> Path:
        path = tmp_path / "broker.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        path.write_text(text)
        return path

    return write


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ or {})
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return str(caught.value).splitlines()


DESIGN = """
issuer: https://broker.example.com
listen: {host: 0.0.0.0, port: 8080}
admin:  {host: 127.0.0.1, port: 9090, token_file: /run/secrets/admin}
trusted_proxies: [10.0.0.0/8, '::1']
database: {url: ${BROKER_DATABASE_URL}}
keys: {algorithm: ES256, rotate_every: 30d, kek_file: kek}
policy: {engine: wasm, path: policies}
audit: {deadline: 1s, key_file: audit.key, checkpoints: {key_file: checkpoint.key}}
max_delegation_depth: 8
max_targets: 1
limits: {authentication_failures: 20/1m}
issuers:
  - issuer: https://idp.example.com
    alias: idp
    jwks_uri: https://idp.example.com/jwks
    algorithms: [RS256, ES256]
    token_types: [access_token, jwt, id_token]
    typ: [at+jwt, JWT, null]
    max_age: 24h
    leeway: 30s
    require: [jti]
    policy_claims: [groups, tenant, acr]
    clients: ['*']
clients:
  - id: checkout
    secrets: ['sha256:1111111111111111111111111111111111111111111111111111111111111111']
    known_as: [{issuer: https://idp.example.com, id: checkout-app}]
    targets: [checkout]
    default_target: inventory
targets:
  - {name: checkout, max_lifetime: 5m}
  - name: inventory
    resources: [https://inventory.example.com/]
    audience: https://inventory.example.com/
    scopes: [inventory.read, inventory.write, stock.read]
"""


def test_the_documented_file_loads(write):
    """The example of the design is what the loader understands."""
    url = "postgresql://u:p@db/broker"
    path = write(DESIGN)
    settings = load_settings(path, {"BROKER_DATABASE_URL": url})

    assert settings.database.url is not None
    assert url == settings.database.url.get_secret_value()
    assert timedelta(days=30) == settings.keys.rotate_every
    assert (20, timedelta(minutes=1)) == (
        settings.limits.authentication_failures.count,
        settings.limits.authentication_failures.per,
    )
    assert (ip_network("10.0.0.0/8"), ip_network("::1/128")) == settings.trusted_proxies
    assert ("checkout", "https://inventory.example.com/") == tuple(
        target.audience for target in settings.targets
    )
    assert ("at+jwt", "JWT", None) == settings.issuers[0].typ


def test_relative_paths_are_relative_to_the_file(write):
    """A service starts the same whatever folder it is started from; defaults included."""
    path = write(DESIGN)
    settings = load_settings(path, {"BROKER_DATABASE_URL": "postgresql://db/broker"})

    assert path.parent / "kek" == settings.keys.kek_file
    assert path.parent / "policies" == settings.policy.path
    assert path.parent / ".broker" == settings.database.data_dir
    assert Path("/run/secrets/admin") == settings.admin.token_file


def test_the_environment_alone_is_enough():
    """Without a file every scalar can still be said."""
    settings = load_settings(
        None,
        {
            "BROKER_ISSUER": "https://broker.test",
            "BROKER_LISTEN__PORT": "8443",
            "BROKER_LIMITS__AUTHENTICATION_FAILURES": "5/10s",
        },
    )

    assert ("https://broker.test", 8443) == (settings.issuer, settings.listen.port)
    assert "5/10s" == str(settings.limits.authentication_failures)


def test_a_variable_overrides_the_file(write):
    """``BROKER_A__B`` is ``a.b``, and an entry of a list is reached by its number."""
    settings = load_settings(
        write(document()),
        {
            "BROKER_MAX_TARGETS": "2",
            "BROKER_POLICY__DEADLINE": "20ms",
            "BROKER_ISSUERS__1__LEEWAY": "5s",
            "BROKER_CLIENTS__0__DEFAULT_TARGET": "svc-b",
        },
    )

    assert 2 == settings.max_targets
    assert timedelta(milliseconds=20) == settings.policy.deadline
    assert [30, 5] == [issuer.leeway.total_seconds() for issuer in settings.issuers[:2]]
    assert "svc-b" == settings.clients[0].default_target


@pytest.mark.parametrize(
    "name",
    ["BROKER_CONFIG", "BROKER_OPA", "BROKER_DATABASE_URL", "BROKER_PORT", "BROKER_SERVICE_HOST"],
)
def test_variables_of_others_are_left_alone(write, name):
    """Kubernetes makes some for a service named broker; the last two are such."""
    assert load_settings(write(document()), {name: "tcp://10.0.0.1:80"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("BROKER_KEYS__ALGORYTHM", "keys.algorythm is no key", id="unknown"),
        pytest.param("BROKER_NOPE__X", "nope.x is no key", id="unknown-section"),
        pytest.param("BROKER_CLIENTS", "clients is no key", id="a-list"),
        pytest.param("BROKER_ISSUERS__0__JWKS", "issuers[0].jwks is no key", id="a-mapping"),
        pytest.param("BROKER_ISSUERS__99__LEEWAY", "issuers[99].leeway has no such", id="no-entry"),
        pytest.param("BROKER_ISSUERS__X__LEEWAY", "issuers.x.leeway is no key", id="no-number"),
    ],
)
def test_a_variable_that_means_nothing_is_an_error(write, name, text):
    """A misspelt override must not leave the file's value in force unnoticed."""
    [problem] = problems(write(document()), {name: "hunter2"})

    assert problem.startswith(f"{name}: {text}")


@pytest.mark.parametrize(
    ("value", "environ", "text"),
    [
        pytest.param("${NOPE}", {}, "the environment variable NOPE is not set", id="not-set"),
        pytest.param("${NOPE}", {"NOPE": ""}, "the environment variable NOPE", id="empty"),
        pytest.param("https://${HOST}", {"HOST": "x"}, "write ${NAME} as the whole", id="part"),
        pytest.param("${}", {}, "write ${NAME} as the whole", id="nameless"),
    ],
)
def test_a_reference_is_a_whole_value(write, value, environ, text):
    """Nothing is pasted together, so no variable can add to a value that was reviewed."""
    [problem] = problems(write({"issuer": value}), environ)

    assert problem.startswith(f"issuer: {text}")


def test_what_a_variable_holds_is_not_read_again(write):
    """A value from the environment is a value: neither a reference nor YAML."""
    [problem] = problems(write({"issuer": "${A}"}), {"A": "${B}", "B": "https://broker.test"})

    assert problem.startswith("issuer: write an https URL")


@pytest.mark.parametrize("style", ["a: ${A}", "a: {b: ${A}}", "a: [${A}, ${A}]", 'a: "${A}"'])
def test_references_need_no_quotes(write, style):
    """YAML would take the braces in ``{url: ${NAME}}`` for a mapping of its own."""
    lines = problems(write(f"issuer: https://broker.test\n{style}"), {"A": "x"})

    assert ["a: is not a known key"] == [line.partition(";")[0] for line in lines]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("issuer: https://a.test\nissuer: https://b.test", "issuer", id="top"),
        pytest.param(
            "issuer: https://a.test\nlisten: {port: 1, port: 2}", "listen.port", id="flow"
        ),
        pytest.param(
            "issuer: https://a.test\nclients:\n- {id: a, id: b}", "clients[0].id", id="in-a-list"
        ),
        pytest.param('issuer: https://a.test\n"issu\\x65r": x', "issuer", id="escaped"),
    ],
)
def test_a_key_written_twice_is_an_error(write, text, key):
    """YAML's own rule is that the last one wins, whichever was meant."""
    assert any(line.startswith(f"{key}: is written twice") for line in problems(write(text)))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="unclosed"),
        pytest.param("a: b: c", id="two-colons"),
        pytest.param("a:\n\t- secret-text", id="tab"),
        pytest.param("a: !!python/object/apply:os.system [secret-text]", id="python-object"),
        pytest.param("a: *nowhere", id="unknown-alias"),
        pytest.param("a: 1\n---\nb: secret-text", id="two-documents"),
        pytest.param("? [a, b]\n: secret-text", id="key-is-a-list"),
        pytest.param("a: 2026-99-99", id="impossible-date"),
        pytest.param("\x00", id="nul"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(write, text):
    """Named by file and line, without the line's text."""
    path = write(text)
    [problem] = problems(path)

    assert problem.startswith(f"{path}:")
    assert "secret-text" not in problem


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 40 + "]" * 40])
def test_endless_and_deep_documents_are_refused(write, text):
    """An alias inside itself has no end."""
    assert any("is nested too deep" in line for line in problems(write(text)))


@pytest.mark.parametrize("text", ["- a", "text", "42"])
def test_a_document_is_a_mapping(write, text):
    """Anything else has no keys."""
    assert ["configuration: write a mapping of keys to values"] == problems(write(text))


@pytest.mark.parametrize(
    ("page", "said"),
    [
        pytest.param('https://help.test/?"=', "without quotation marks", id="quotation-mark"),
        pytest.param("https://help.test/\\\\", "write", id="backslash"),
        pytest.param("http://help.test/?id=", "write https", id="plain-http"),
        pytest.param("https://help.test/#id=", "without a fragment", id="fragment"),
    ],
)
def test_an_error_uri_is_one_that_may_stand_in_an_answer(write, page, said):
    """RFC 6749 §5.2 has fewer characters for it than a URL may have."""
    lines = problems(write(document(error_uri=page)))

    assert ["error_uri"] == [line.partition(":")[0] for line in lines]
    assert said in lines[0]


def test_an_empty_file_lacks_the_issuer(write):
    """The one key without a default."""
    assert ["issuer: is required"] == problems(write(""))


def test_a_missing_file_is_named(tmp_path):
    """Not a traceback."""
    path = tmp_path / "nope.yaml"

    assert [f"{path}: cannot be read (No such file or directory)"] == problems(path)


def test_everything_wrong_is_said_at_once(write):
    """One start is enough to see all that has to be mended, each by its key."""
    bad = document(max_targets=0, issuer="http://broker.example")
    bad["issuers"][0]["leeway"] = "61s"
    bad["clients"][1] = bad["clients"][1] | {"secrets": []}
    bad["targets"][2]["clams"] = ["email"]

    assert [
        "issuer: write https: plain http is only for localhost, 127.0.0.1 and [::1]",
        "max_targets: write at least 1",
        "issuers[0].leeway: write a duration from 0s to 1m",
        (
            "clients[1].secrets: is required for client_secret_basic;"
            " `broker clients new-secret` makes one"
        ),
        "targets[2].clams: is not a known key; write claims",
    ] == problems(write(bad))


CANARY = "Canary~In.The_Coal-Mine"


def _leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path


@pytest.mark.parametrize(
    "canary", [CANARY, f"${{{CANARY}", f"a {CANARY} *", [CANARY], {"a": CANARY}]
)
def test_no_message_repeats_a_value(write, canary):
    """A secret in the wrong place must not reach the terminal or a log."""
    good = document(database={"url": "postgresql://db"}, keys={"kek_file": "kek"})
    good["policy"] = {"engine": "opa", "url": "http://127.0.0.1:8181"}
    # One of each kind: what is true of a key is true of it in the next entry.
    good["issuers"], good["targets"] = good["issuers"][:1], good["targets"][:2]
    good["clients"] = [c for c in good["clients"] if c["id"] in {"svc-a", "svc-jwt"}]
    for path in _leaves(good):
        if "jwks" in path:
            continue
        bad = copy.deepcopy(good)
        place = bad
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = canary
        try:
            load_settings(write(bad), {})  # some of these keys may have any value
        except ConfigurationError as error:
            assert error.__suppress_context__, "the library's error holds what it refused"
            assert CANARY not in str(error), path


def test_secrets_are_not_shown(write):
    """``repr`` of the settings ends up in logs and debuggers."""
    settings = load_settings(
        write(document(database={"url": "postgresql://u:hunter2@db"}, keys={"kek_file": "k"})), {}
    )

    assert "hunter2" not in repr(settings)
    assert "sha256:" not in repr(settings)


def test_only_what_is_wanted_is_read(write):
    """Of the other sections neither file nor environment can be wrong, nor is a secret needed."""
    path = write(document(database={"url": "${NOT_SET}"}, listen={"port": "no port"}))
    parties = {"issuer", "issuers", "clients", "targets"}
    settings = load_settings(path, {"BROKER_ADMIN__PORT": "none"}, only=parties)

    assert document()["clients"][0]["id"] == settings.clients[0].id
    assert (1, 8080) == (settings.max_targets, settings.listen.port)
    with pytest.raises(ConfigurationError, match=r"issuers\[0\].alias"):
        load_settings(path, {"BROKER_ISSUERS__0__ALIAS": "a b"}, only=parties)
