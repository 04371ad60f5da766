"""A client-credentials request, as it came and as it is forwarded. RFC 6749 §4.4.2, RFC 8707 §2.

What holds when ``parse_request`` returns:

(1) it is one form that asks for a client-credentials token, with one client secret;
(2) each parameter is one that is forwarded to this upstream, and no other was sent: one that was
    dropped in silence could have been what restricts the token;
(3) what is forwarded, and the key that its answer is kept under, are made of the same parts, in
    one canonical order. Nothing that is forwarded is missing from the key.

Credentials are forwarded by the method and in the spelling in which they came: not all identity
providers decode what RFC 6749 §2.3.1 has clients encode.
"""

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from broker.clients.credentials import form_decode, read_basic
from broker.clients.request import RawRequest, read_form
from broker.domain import ProxyQuestion
from broker.errors import AuthenticationRejected, ParseRejected, Reason
from broker.oauth import GRANT_TYPE_CLIENT_CREDENTIALS, AuthMethod
from broker.policy.scopes import split_scope
from broker.proxy.key import Parts

_REPEATABLE: Final = frozenset({"audience", "resource"})  # RFC 8693 §2.1, RFC 8707 §2
_OWN: Final = frozenset({"grant_type", "scope", "client_id", "client_secret"})
_ASSERTION: Final = frozenset({"client_assertion", "client_assertion_type"})


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """What the client authenticates with upstream, as it was sent: nothing here verifies it."""

    method: AuthMethod
    client_id: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A well-formed request. It holds a secret: nothing keeps it that outlives it."""

    question: ProxyQuestion
    credentials: PresentedCredentials
    named: str | None  # ``client_id`` in the body beside a Basic header

    @property
    def parts(self) -> Parts:
        """What it consists of, the upstream apart: whatever differs here differs upstream."""
        question, credentials = self.question, self.credentials
        return (
            (credentials.method.encode(), credentials.client_id, credentials.secret),
            () if self.named is None else (self.named.encode(),),
            tuple(scope.encode() for scope in question.scopes),
            tuple(audience.encode() for audience in question.audiences),
            tuple(resource.encode() for resource in question.resources),
            tuple(text.encode() for pair in question.parameters for text in pair),
        )

    def headers(self) -> dict[str, str]:
        """Return the header fields that it is forwarded with; a secret among them."""
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.credentials.method is AuthMethod.CLIENT_SECRET_BASIC:
            pair = self.credentials.client_id + b":" + self.credentials.secret
            fields["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return fields

    def body(self) -> bytes:
        """Return the form that is forwarded; a secret may be in it."""
        question, credentials = self.question, self.credentials
        form: list[tuple[str, str | bytes]] = [("grant_type", GRANT_TYPE_CLIENT_CREDENTIALS)]
        if question.scopes:
            form.append(("scope", " ".join(question.scopes)))
        form += (("audience", audience) for audience in question.audiences)
        form += (("resource", resource) for resource in question.resources)
        form += question.parameters
        if credentials.method is AuthMethod.CLIENT_SECRET_POST:
            form.append(("client_id", credentials.client_id))
            form.append(("client_secret", credentials.secret))
        elif self.named is not None:
            form.append(("client_id", self.named))
        return urlencode(form).encode()


def parse_request(raw: RawRequest, *, upstream: str, parameters: Collection[str]) -> ProxyRequest:
    """Return the request; ``parameters`` are those that this upstream takes besides.

    Raises ``ParseRejected``, ``AuthenticationRejected`` or, for a scope, ``DecisionRejected``.
    """
    single, repeated = _sort(read_form(raw), parameters)
    grant_type = single.pop("grant_type", None)
    if grant_type is None:
        raise ParseRejected(Reason.REQUEST_GRANT_TYPE_MISSING)
    if grant_type != GRANT_TYPE_CLIENT_CREDENTIALS:
        raise ParseRejected(Reason.PROXY_GRANT_TYPE_UNSUPPORTED)
    client_id, secret = single.pop("client_id", None), single.pop("client_secret", None)
    name, credentials = _read_credentials(raw.authorization, client_id, secret)
    # The order of scopes means nothing (RFC 6749 §3.3); that of other values may.
    scopes = tuple(sorted(split_scope(single.pop("scope", None))))
    question = ProxyQuestion(
        upstream=upstream,
        unverified_client_id=name,
        scopes=scopes,
        audiences=tuple(repeated["audience"]),
        resources=tuple(repeated["resource"]),
        parameters=tuple(sorted(single.items())),
    )
    return ProxyRequest(question, credentials, None if secret is not None else client_id)


def _sort(
    form: list[tuple[str, str]], parameters: Collection[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return what may come once and what may come often, without empty values. RFC 6749 §3.2."""
    single: dict[str, str] = {}
    repeated: dict[str, list[str]] = {name: [] for name in _REPEATABLE}
    for name, value in form:
        if name in _REPEATABLE:
            repeated[name] += [value] if value else []
        elif name in _OWN or name in parameters:
            if name in single:
                raise ParseRejected(Reason.REQUEST_REPEATED_PARAMETER)
            single[name] = value
        elif name in _ASSERTION:
            # Each is for one use (RFC 7523 §3), so what it was answered with is for nobody else.
            raise ParseRejected(Reason.PROXY_ASSERTION_UNSUPPORTED)
        elif value:
            raise ParseRejected(Reason.PROXY_PARAMETER_NOT_ALLOWED)
    return {name: value for name, value in single.items() if value}, repeated


def _read_credentials(
    authorization: tuple[str, ...], client_id: str | None, secret: str | None
) -> tuple[str, PresentedCredentials]:
    """Return the client's name and the one set of credentials in a request. RFC 6749 §2.3."""
    if len(authorization) + (secret is not None) > 1:
        raise AuthenticationRejected(Reason.CLIENT_SEVERAL_METHODS)
    if secret is not None:
        if client_id is None:
            raise AuthenticationRejected(Reason.CLIENT_CREDENTIALS_MALFORMED)
        method = AuthMethod.CLIENT_SECRET_POST
        return client_id, PresentedCredentials(method, client_id.encode(), secret.encode())
    if not authorization:
        raise AuthenticationRejected(Reason.CLIENT_AUTHENTICATION_MISSING)
    sent_id, sent_secret = read_basic(authorization[0])
    name = form_decode(sent_id)
    if client_id is not None and client_id != name:
        raise AuthenticationRejected(Reason.CLIENT_ID_MISMATCH)
    method = AuthMethod.CLIENT_SECRET_BASIC
    return name, PresentedCredentials(method, sent_id, sent_secret)
