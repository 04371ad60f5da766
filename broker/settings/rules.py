"""What must hold between issuers, clients and targets, so that no name means two things.

Every function yields all that is wrong and stops at nothing. Texts name keys, never values.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final

from broker.settings.audit import Audit
from broker.settings.parties import ClientSettings, TargetSettings, TrustedIssuer
from broker.settings.problems import Path, Problem, render_path
from broker.settings.sections import Admin, Listen
from broker.settings.values import normal_url

# What the broker itself answers at, below its issuer (design §9).
_ENDPOINTS: Final = (
    *("", "/", "/token", "/revoke", "/introspect", "/.well-known/jwks.json"),
    *("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
)
_OWN_ALIAS: Final = "self"  # in metrics, where our own issuer is one among the others
_NO_TARGET: Final = "is no target; write the name of one of targets"


def listener_problems(listen: Listen, admin: Admin) -> Iterator[Problem]:
    """Yield a problem if both listeners would be one (the admin API would be public)."""
    if listen.port == admin.port != 0:
        yield Problem(("admin", "port"), "write another port than listen.port")


def audit_problems(audit: Audit) -> Iterator[Problem]:
    """Yield which keys of the trail are missing, where none can be made beside the database."""
    if audit.key_file is None:
        yield Problem(
            ("audit", "key_file"),
            "is required with database.url: a file with 32 random bytes in base64",
        )
    if audit.checkpoints.key_file is None:
        yield Problem(
            ("audit", "checkpoints", "key_file"),
            "is required with database.url: a file with 32 random bytes in base64",
        )


def issuer_problems(
    own_issuer: str,
    issuers: Sequence[TrustedIssuer],
    clients: Sequence[ClientSettings],
    targets: Sequence[TargetSettings],
) -> Iterator[Problem]:
    """Yield what makes one issuer's tokens look like another's, or like ours (invariant 9)."""
    yield from _repeated(
        ((("issuers", index, "issuer"), normal_url(issuer.issuer)))
        for index, issuer in enumerate(issuers)
    )
    yield from _repeated(
        ((("issuers", index, "alias"), issuer.alias)) for index, issuer in enumerate(issuers)
    )
    yield from _repeated(
        (("issuers", index, "subject"), "keep")
        for index, issuer in enumerate(issuers)
        if issuer.subject == "keep"
    )
    client_ids = {client.id for client in clients}
    taken = client_ids | {target.audience for target in targets} | {t.name for t in targets}
    for index, issuer in enumerate(issuers):
        path: Path = ("issuers", index)
        if normal_url(issuer.issuer) == normal_url(own_issuer):
            yield Problem((*path, "issuer"), "is our own issuer, which is built in; remove it")
        if issuer.alias == _OWN_ALIAS:
            yield Problem((*path, "alias"), "is what our own issuer is called; write another name")
        for place, client_id in enumerate(issuer.clients):
            if client_id not in {"*", *client_ids}:
                yield Problem(
                    (*path, "clients", place), "is no client; write the id of one, or ['*'] alone"
                )
        # Otherwise every token for that party would count as meant for the broker (invariant 6).
        for place, audience in enumerate(issuer.audiences):
            if audience in taken:
                yield Problem(
                    (*path, "audiences", place),
                    "names a client or target; write what means this broker at the issuer",
                )
        asked = issuer.introspection
        if asked is not None and normal_url(asked.endpoint) == normal_url(
            f"{own_issuer}/introspect"
        ):
            yield Problem(
                (*path, "introspection", "endpoint"), "is this broker; write the issuer's"
            )
    yield from _opaque_problems(issuers)


def _opaque_problems(issuers: Sequence[TrustedIssuer]) -> Iterator[Problem]:
    """Yield what would send an opaque token to an issuer that it may not be of."""
    asked: list[tuple[Path, str | None]] = [
        (("issuers", index, "introspection", "prefix"), issuer.introspection.prefix)
        for index, issuer in enumerate(issuers)
        if issuer.introspection is not None and issuer.introspection.asks_about_opaque
    ]
    for number, (path, prefix) in enumerate(asked):
        if prefix is None and len(asked) > 1:
            yield Problem(path, "is required where several issuers have opaque tokens")
        for other, taken in asked[:number]:
            if prefix and taken and (prefix.startswith(taken) or taken.startswith(prefix)):
                yield Problem(path, f"fits the same tokens as {render_path(other)}")


def client_problems(
    issuers: Sequence[TrustedIssuer],
    clients: Sequence[ClientSettings],
    targets: Sequence[TargetSettings],
) -> Iterator[Problem]:
    """Yield what makes a client another one, or names what is not there."""
    yield from _repeated(
        ((("clients", index, "id"), client.id)) for index, client in enumerate(clients)
    )
    yield from _repeated(
        (("clients", index, "secrets", place), secret.get_secret_value().lower())
        for index, client in enumerate(clients)
        for place, secret in enumerate(client.secrets)
    )
    yield from _repeated(
        (("clients", index, "known_as", place), (known.issuer, known.id))
        for index, client in enumerate(clients)
        for place, known in enumerate(client.known_as)
    )
    known_issuers = {issuer.issuer for issuer in issuers}
    names = {target.name for target in targets}
    for index, client in enumerate(clients):
        path: Path = ("clients", index)
        for place, known in enumerate(client.known_as):
            if known.issuer not in known_issuers:
                yield Problem(
                    (*path, "known_as", place, "issuer"),
                    "is no trusted issuer; write the issuer of one of issuers",
                )
        for place, name in enumerate(client.targets):
            if name not in names:
                yield Problem((*path, "targets", place), _NO_TARGET)
        if client.default_target is not None and client.default_target not in names:
            yield Problem((*path, "default_target"), _NO_TARGET)


def target_problems(
    own_issuer: str, clients: Sequence[ClientSettings], targets: Sequence[TargetSettings]
) -> Iterator[Problem]:
    """Yield what makes an ``aud`` or ``audience`` ambiguous. RFC 8693 §2.1, TX-2.1-12."""
    endpoints = {normal_url(own_issuer + path) for path in _ENDPOINTS}
    owners: dict[str, int] = {}
    for index, target in enumerate(targets):
        for path, name in _identifiers(index, target):
            # Exact, and as a careless resource server might compare.
            owner = owners.setdefault(normal_url(name), index)
            if owner != index:
                yield Problem(path, f"is also a name, resource or audience of targets[{owner}]")
            if normal_url(name) in endpoints:
                yield Problem(path, "is this broker; write what names the resource server")
        # A token for the target would pass as meant for that client (invariant 6).
        for number, client in enumerate(clients):
            if client.id in {target.name, target.audience} and target.name not in client.targets:
                yield Problem(
                    ("targets", index, "name" if client.id == target.name else "audience"),
                    f"is the id of clients[{number}], which is not this target;"
                    f" rename one, or add the target to clients[{number}].targets",
                )


def _identifiers(index: int, target: TargetSettings) -> Iterator[tuple[Path, str]]:
    yield ("targets", index, "name"), target.name
    if target.audience != target.name:
        yield ("targets", index, "audience"), target.audience
    for place, resource in enumerate(target.resources):
        yield ("targets", index, "resources", place), resource


def _repeated(keys: Iterable[tuple[Path, Hashable]]) -> Iterator[Problem]:
    first: dict[Hashable, Path] = {}
    for path, key in keys:
        if key in first:
            yield Problem(path, f"is the same as {render_path(first[key])}; only one may have it")
        first.setdefault(key, path)
