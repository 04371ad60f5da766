"""What can be said of a configuration without asking anybody: everything of ``broker check``."""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.audit.publish.witness import parse_witness_key
from broker.cli.console import short_revision
from broker.cli.findings import Finding, bad, good, hint, warning
from broker.cli.inspect_keys import PartyKeys, judge_keys, parties
from broker.cli.inspect_proxy import inspect_proxy
from broker.domain import JsonObject
from broker.errors import ConfigurationError
from broker.issuers.fetch import MAX_DOCUMENT, build_tls
from broker.issuers.introspection import load_client_secret
from broker.keys.envelope import load_kek
from broker.oauth import AuthMethod
from broker.policy.grants import check_grants, read_grants
from broker.policy.load import load_configured
from broker.settings import Introspection, Settings, load_settings
from broker.settings.problems import render_path
from broker.settings.secret_file import read_secret

_EXAMPLE_ISSUER = "add who issues the tokens that are presented, under issuers"
_SECRET_METHODS = frozenset({AuthMethod.CLIENT_SECRET_BASIC, AuthMethod.CLIENT_SECRET_POST})


@dataclass(slots=True)
class Inspection:
    """What was found, and what later looks need."""

    findings: list[Finding] = field(default_factory=list)
    settings: Settings | None = None  # None: they cannot be read
    keys: list[PartyKeys] = field(default_factory=list)  # that need no network
    revision: str | None = None  # of the policy, where it was compiled


def inspect(path: Path | None, environ: Mapping[str, str] | None = None) -> Inspection:
    """Return everything that a configuration says wrongly. It reads files and runs ``opa``."""
    inspection = Inspection()
    findings = inspection.findings
    try:
        settings = load_settings(path, environ)
    except ConfigurationError as error:
        findings += read_problems(error, "write it as docs/reference/configuration.md says")
        return inspection
    inspection.settings = settings
    findings.append(good("settings", _summary(settings)))
    findings += _parties_missing(settings)
    findings += _files(settings)
    _keys(settings, inspection)
    findings += _policy(settings, inspection)
    findings += _hints(settings)
    return inspection


def read_problems(error: ConfigurationError, remedy: str = "") -> list[Finding]:
    """Return a finding for each line of an error: the key before the colon, then what to do."""
    found = []
    for line in str(error).splitlines():
        subject, colon, text = line.partition(": ")
        said, semicolon, mend = (text if colon else line).partition("; ")
        found.append(bad(subject if colon else "settings", said, mend if semicolon else remedy))
    return found


def _summary(settings: Settings) -> str:
    counts = (
        (len(settings.issuers), "issuer"),
        (len(settings.clients), "client"),
        (len(settings.targets), "target"),
    )
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)


def _parties_missing(settings: Settings) -> Iterator[Finding]:
    if not settings.issuers:
        yield warning(
            "issuers", "there is none, so no token but our own is accepted", _EXAMPLE_ISSUER
        )
    if not settings.clients:
        yield warning("clients", "there is none, so nobody can exchange", "add one under clients")
    if not settings.targets:
        yield warning("targets", "there is none, so nothing is issued", "add one under targets")


def _files(settings: Settings) -> Iterator[Finding]:
    yield from _key_files(settings)
    yield from _witnesses(settings)
    if settings.admin.token_file is not None:
        yield _token_file(settings.admin.token_file)
    for party in parties(settings.issuers, settings.clients):
        if party.settings.ca_file is not None:
            yield _ca_file(f"ca_file of {party.role} {party.name}", party.settings.ca_file)
    for issuer in settings.issuers:
        if issuer.introspection is not None:
            yield from _introspection(issuer.alias, issuer.introspection)


def _introspection(alias: str, asked: Introspection) -> Iterator[Finding]:
    name = f"introspection of issuer {alias}"
    try:
        load_client_secret(name, asked)
        yield good(name, f"asks about tokens: {asked.tokens}")
    except ConfigurationError as error:
        yield from read_problems(error)
    if asked.ca_file is not None:
        yield _ca_file(f"ca_file of {name}", asked.ca_file)


def _key_files(settings: Settings) -> Iterator[Finding]:
    keys, audit, store = settings.keys, settings.audit, settings.proxy.store
    keks = {
        "keys.kek_file": keys.kek_file,
        "keys.second_kek_file": keys.second_kek_file,
        "audit.key_file": audit.key_file,
        "audit.checkpoints.key_file": audit.checkpoints.key_file,
        "proxy.store.key_file": None if store is None else store.key_file,
    }
    seen: dict[bytes, str] = {}
    for setting, file in keks.items():
        if file is not None:
            try:
                first = seen.setdefault(load_kek(file, setting=setting), setting)
                if first != setting and setting.startswith(("audit.", "proxy.")):
                    text = f"is the same key as {first}, so whoever gets one has both"
                    yield warning(setting, text, "make another: openssl rand -base64 32")
                else:
                    yield good(setting, "32 bytes")
            except ConfigurationError as error:
                yield from read_problems(error)
    if keys.pkcs11 is not None:
        setting, remedy = "keys.pkcs11.pin_file", "write the user PIN into it"
        try:
            read_secret(keys.pkcs11.pin_file, setting=setting, remedy=remedy)
            yield good(setting, "readable by the broker alone")
        except ConfigurationError as error:
            yield from read_problems(error)


def _witnesses(settings: Settings) -> Iterator[Finding]:
    for witness in settings.audit.checkpoints.witnesses:
        try:
            key = parse_witness_key(witness.vkey)
            yield good(f"witness {key.name}", "has a key that verifies what it signs")
        except ConfigurationError as error:
            yield from read_problems(error)


def _token_file(path: Path) -> Finding:
    name = "admin.token_file"
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return bad(name, f"{path} cannot be read", "write a random token into it")
    if len(text) < 32:
        return bad(name, f"{path} holds a token that can be guessed", "write 32 characters or more")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return warning(name, f"everybody can read {path}", f"chmod 600 {path}")
    return good(name, "readable by the broker alone")


def _ca_file(name: str, path: Path) -> Finding:
    try:
        build_tls(path)
    except (OSError, ValueError):
        return bad(name, f"{path} holds no certificate", "write a file of PEM certificates")
    return good(name, "certificates")


def _keys(settings: Settings, inspection: Inspection) -> None:
    for party in parties(settings.issuers, settings.clients):
        if party.is_fetched:
            continue
        file = party.settings.jwks_file
        document: JsonObject | bytes = party.settings.jwks or {}
        if file is not None:
            try:
                with file.open("rb") as opened:
                    document = opened.read(MAX_DOCUMENT + 1)
            except OSError as error:
                text = f"{file} cannot be read ({error.strerror})"
                inspection.findings.append(bad(party.subject, text, "write a JWK set into it"))
                continue
            if len(document) > MAX_DOCUMENT:
                text = f"{file} is larger than {MAX_DOCUMENT // 1024} KiB"
                inspection.findings.append(bad(party.subject, text, "leave only current keys"))
                continue
        found, keys = judge_keys(party, document)
        inspection.findings += found
        inspection.keys += [keys] if keys else []


def _policy(settings: Settings, inspection: Inspection) -> Iterator[Finding]:
    path = settings.policy.path
    if settings.policy.engine == "opa" and not path.exists():
        yield good("policy", "is the OPA server's; there is no folder to check here")
        yield from inspect_proxy(settings, None)
        return
    try:
        bundle = load_configured(settings.policy)
    except ConfigurationError as error:
        yield from _policy_problems(error)
        yield from inspect_proxy(settings, None)
        return
    inspection.revision = bundle.revision
    yield good("policy", f"compiles, revision {short_revision(bundle.revision)}")
    yield from inspect_proxy(settings, bundle)
    yield from _grants(settings, bundle.data)


def _grants(settings: Settings, data: bytes) -> Iterator[Finding]:
    grants = read_grants(data)
    problems = check_grants(grants, settings)
    for problem in problems:
        said, _, mend = problem.text.partition("; ")
        yield bad(f"grant {render_path(problem.path)}", said, mend or "correct it in the grants")
    if not problems:
        yield good("grants", "name only clients, targets, scopes and issuers that are configured")


def _policy_problems(error: ConfigurationError) -> Iterator[Finding]:
    # What ``opa`` says names file and line by itself, over several lines.
    text = str(error).removeprefix("policy.path: ")
    yield bad("policy", text, "mend it; `broker policy check` says the same while you do")


def _hints(settings: Settings) -> Iterator[Finding]:
    # RFC 9700 §2.5: a secret is known to both sides, a private key to one.
    secret = [client.id for client in settings.clients if client.auth in _SECRET_METHODS]
    if secret:
        yield hint(
            "clients",
            f"by secret: {', '.join(secret)}",
            "private_key_jwt is safer where the client can: nothing that it sends can be reused",
        )
