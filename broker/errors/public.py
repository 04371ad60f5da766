"""What a caller is told: the one table from each reason to OAuth ``error``, status and text."""

from dataclasses import dataclass
from http import HTTPStatus

from broker.errors.reason import Reason
from broker.oauth import OAuthError


@dataclass(frozen=True, slots=True)
class PublicError:
    """What a caller is told: a registered code, a status and a text that never changes."""

    error: OAuthError
    description: str  # RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
    status: int = HTTPStatus.BAD_REQUEST
    retry_after: int | None = None  # seconds


def _bad(description: str) -> PublicError:
    return PublicError(OAuthError.INVALID_REQUEST, description)


def _client(description: str) -> PublicError:
    return PublicError(OAuthError.INVALID_CLIENT, description, HTTPStatus.UNAUTHORIZED)


def _scope(description: str) -> PublicError:
    return PublicError(OAuthError.INVALID_SCOPE, description)


def _target(description: str) -> PublicError:
    return PublicError(OAuthError.INVALID_TARGET, description)


def _unavailable(description: str) -> PublicError:
    return PublicError(
        OAuthError.TEMPORARILY_UNAVAILABLE, description, HTTPStatus.SERVICE_UNAVAILABLE, 1
    )


def _throttled(description: str, seconds: int) -> PublicError:
    return PublicError(
        OAuthError.TEMPORARILY_UNAVAILABLE, description, HTTPStatus.TOO_MANY_REQUESTS, seconds
    )


# Forgeries look alike: which check a forged token failed is told to nobody but the audit trail.
_CLIENT_FAILED = _client("Client authentication failed.")
_FORGED = (
    *("malformed", "issuer_unknown", "algorithm_not_allowed", "key_unknown"),
    *("signature_invalid", "reference_unknown", "inactive"),
)
_NOT_CONFIGURED_BY_POLICY = "The policy gave no usable answer, so the request is refused."


def _token_errors(token: str) -> dict[str, PublicError]:
    """Return the texts that subject and actor tokens share, by the second part of the reason."""
    return {
        **dict.fromkeys(_FORGED, _bad(f"The {token} token was not accepted.")),
        "type_not_accepted": _bad(f"The {token} token is not of a type accepted here."),
        "claim_missing": _bad(f"The {token} token lacks a required claim."),
        "claim_invalid": _bad(f"A claim of the {token} token is malformed."),
        "claim_not_believed": _bad(f"The {token} token has a claim its issuer may not assert."),
        "expired": _bad(f"The {token} token has expired."),
        "not_yet_valid": _bad(f"The {token} token is not valid yet."),
        "too_old": _bad(f"The {token} token was issued too long ago."),
        "audience_mismatch": _bad(f"The {token} token was not issued for this client."),
        "issuer_not_for_client": _bad(
            f"This client may not present {token} tokens of that issuer."
        ),
        "subject_is_client": _bad(
            f"The subject of the {token} token cannot be told from a client."
        ),
        "client_unknown": _bad(f"The {token} token was issued to a client that is gone."),
        "replayed": _bad("A token that may be used only once was used before."),
        "revoked": _bad(f"The {token} token, or something that it descends from, was revoked."),
    }


PUBLIC: dict[Reason, PublicError] = {
    Reason.REQUEST_METHOD_NOT_ALLOWED: PublicError(
        OAuthError.INVALID_REQUEST, "Use POST.", HTTPStatus.METHOD_NOT_ALLOWED
    ),
    Reason.REQUEST_MEDIA_TYPE: _bad("The body must be application/x-www-form-urlencoded."),
    Reason.REQUEST_BODY_TOO_LARGE: PublicError(
        OAuthError.INVALID_REQUEST,
        "The body is larger than 64 KiB.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    Reason.REQUEST_BODY_TIMEOUT: PublicError(
        OAuthError.INVALID_REQUEST, "The body arrived too slowly.", HTTPStatus.REQUEST_TIMEOUT
    ),
    Reason.REQUEST_INCOMPLETE: _bad("The body ended early."),
    Reason.REQUEST_MALFORMED_FORM: _bad("The body is not a well-formed UTF-8 form."),
    Reason.REQUEST_TOO_MANY_PARAMETERS: _bad("The body has more than 200 parameters."),
    Reason.REQUEST_QUERY_PARAMETERS: _bad("Parameters belong in the body, not in the URL."),
    Reason.REQUEST_REPEATED_PARAMETER: _bad(
        "A parameter other than audience and resource is repeated."
    ),
    Reason.REQUEST_GRANT_TYPE_MISSING: _bad("The parameter grant_type is missing."),
    Reason.REQUEST_GRANT_TYPE_UNSUPPORTED: PublicError(
        OAuthError.UNSUPPORTED_GRANT_TYPE,
        "The grant type must be urn:ietf:params:oauth:grant-type:token-exchange.",
    ),
    Reason.REQUEST_SUBJECT_TOKEN_MISSING: _bad("The parameter subject_token is missing."),
    Reason.REQUEST_SUBJECT_TOKEN_TYPE_MISSING: _bad("The parameter subject_token_type is missing."),
    Reason.REQUEST_ACTOR_TOKEN_MISSING: _bad("There is an actor_token_type but no actor_token."),
    Reason.REQUEST_ACTOR_TOKEN_TYPE_MISSING: _bad(
        "There is an actor_token but no actor_token_type."
    ),
    Reason.REQUEST_REQUESTED_TOKEN_TYPE_UNSUPPORTED: _bad(
        "The requested token type is not one that is issued here."
    ),
    Reason.REQUEST_TOKEN_MISSING: _bad("The parameter token is missing."),
    Reason.CLIENT_AUTHENTICATION_MISSING: _client("The client must authenticate."),
    Reason.CLIENT_SEVERAL_METHODS: _bad("Use one method of client authentication."),
    Reason.CLIENT_ASSERTION_INCOMPLETE: _bad(
        "Send client_assertion together with its client_assertion_type for JWT bearer."
    ),
    Reason.CLIENT_ID_MISMATCH: _bad("The client_id is not that of the authenticated client."),
    Reason.CLIENT_CREDENTIALS_MALFORMED: _CLIENT_FAILED,
    Reason.CLIENT_UNKNOWN: _CLIENT_FAILED,
    Reason.CLIENT_METHOD_NOT_ALLOWED: _CLIENT_FAILED,
    Reason.CLIENT_SECRET_MISMATCH: _CLIENT_FAILED,
    Reason.CLIENT_ASSERTION_INVALID: _CLIENT_FAILED,
    Reason.CLIENT_ASSERTION_EXPIRED: _CLIENT_FAILED,
    Reason.CLIENT_ASSERTION_AUDIENCE: _CLIENT_FAILED,
    Reason.CLIENT_ASSERTION_REPLAYED: _CLIENT_FAILED,
    Reason.CLIENT_KEYS_UNAVAILABLE: _unavailable(
        "The keys of this client cannot be fetched at the moment."
    ),
    Reason.CLIENT_GRANT_TYPE_NOT_ALLOWED: PublicError(
        OAuthError.UNAUTHORIZED_CLIENT, "This client may not use token exchange."
    ),
    Reason.CLIENT_THROTTLED: _throttled("Too many failed authentications.", 60),
    # Whoever has found a secret is not told that it was the right one.
    Reason.CLIENT_REVOKED: _CLIENT_FAILED,
    **{
        Reason(f"{token}_token.{cause}"): public
        for token in ("subject", "actor")
        for cause, public in _token_errors(token).items()
    },
    Reason.ACTOR_TOKEN_NOT_OF_CLIENT: _bad("The actor token does not belong to this client."),
    Reason.ACTOR_TOKEN_HAS_CHAIN: _bad("The actor token has an actor of its own."),
    Reason.ISSUER_UNAVAILABLE: _unavailable("The issuer of this token does not answer just now."),
    Reason.DELEGATION_MAY_ACT_MISMATCH: _bad("The subject token names another party as actor."),
    Reason.DELEGATION_DEPTH_EXCEEDED: _bad("The delegation chain would be too long."),
    Reason.DELEGATION_LOOP: _bad("This actor is already part of the delegation chain."),
    Reason.DELEGATION_LINEAGE_EXCEEDED: _bad("The subject token descends from too many tokens."),
    Reason.TARGET_MISSING: _target("Say with audience or resource what the token is for."),
    Reason.TARGET_UNKNOWN: _target("A requested audience or resource is not known here."),
    Reason.TARGET_RESOURCE_INVALID: _target(
        "A resource must be an absolute URI without a fragment."
    ),
    Reason.TARGET_TOO_MANY: _target("A token for that many targets is not issued here."),
    Reason.TARGET_INCOMPATIBLE: _target("The requested targets cannot share one token."),
    Reason.TARGET_FORMAT_UNSUPPORTED: _bad("The target does not use tokens of the requested type."),
    Reason.SCOPE_MALFORMED: _scope("The scope is malformed."),
    Reason.SCOPE_MISSING: _scope("Name a scope: there is no default for this target."),
    Reason.POLICY_DENIED: _bad("The policy does not allow this exchange."),
    Reason.POLICY_TARGET_NOT_GRANTED: _target("This client is not granted that target."),
    Reason.POLICY_SCOPE_UNKNOWN: _scope("A requested scope is not known at the target."),
    Reason.POLICY_SCOPE_NOT_GRANTED: _scope("A requested scope is not granted to this client."),
    Reason.POLICY_SCOPE_NOT_HELD: _scope("A requested scope is not held by the subject token."),
    Reason.POLICY_SCOPE_NOTHING_LEFT: _scope("None of the requested scopes can be granted."),
    Reason.POLICY_PURPOSE_MISSING: _bad("This grant needs the parameter purpose."),
    Reason.POLICY_PURPOSE_NOT_ALLOWED: _bad("The purpose is not one that this grant allows."),
    Reason.POLICY_ISSUER_NOT_ALLOWED: _bad(
        "This client is not granted that target for subjects of that issuer."
    ),
    Reason.POLICY_IMPERSONATION_WITH_ACTOR_TOKEN: _bad(
        "This grant is for impersonation, which takes no actor token."
    ),
    Reason.POLICY_MODE_CONFLICT: _target("The grants for the requested targets differ in mode."),
    Reason.POLICY_UNDEFINED: _bad(_NOT_CONFIGURED_BY_POLICY),
    Reason.POLICY_MALFORMED: _bad(_NOT_CONFIGURED_BY_POLICY),
    Reason.POLICY_FLOOR_VIOLATION: _bad(_NOT_CONFIGURED_BY_POLICY),
    Reason.POLICY_FLOOR_VIOLATION_SCOPE: _scope("The requested scopes cannot be granted."),
    Reason.POLICY_UNAVAILABLE: _unavailable("The policy cannot be evaluated at the moment."),
    Reason.MINT_TOKEN_TOO_LARGE: _bad("The issued token would be larger than 8 KiB."),
    Reason.MINT_KEY_UNAVAILABLE: _unavailable("There is no signing key at the moment."),
    Reason.AUDIT_UNAVAILABLE: _unavailable("The exchange cannot be recorded at the moment."),
    Reason.REPLAY_UNAVAILABLE: _unavailable("Replay cannot be ruled out at the moment."),
    Reason.REFERENCE_UNAVAILABLE: _unavailable(
        "Reference tokens cannot be looked up at the moment."
    ),
    Reason.INTROSPECTION_THROTTLED: _throttled(
        "Too many introspections; keep an answer for a moment, or ask for a higher limit.", 1
    ),
    Reason.REVOCATION_UNAVAILABLE: _unavailable(
        "Whether the token was revoked cannot be said at the moment."
    ),
    # As far as a client goes, the tokens of others do not exist (RFC 7009 §2.1, D-07).
    Reason.REVOCATION_NOT_OF_CLIENT: PublicError(
        OAuthError.UNAUTHORIZED_CLIENT, "This client may not revoke that token."
    ),
    Reason.REVOCATION_TOKEN_TYPE_UNSUPPORTED: PublicError(
        OAuthError.UNSUPPORTED_TOKEN_TYPE, "Tokens of that type cannot be revoked here."
    ),
    Reason.PROXY_UPSTREAM_UNKNOWN: PublicError(
        OAuthError.INVALID_REQUEST, "There is no such upstream.", HTTPStatus.NOT_FOUND
    ),
    Reason.PROXY_GRANT_TYPE_UNSUPPORTED: PublicError(
        OAuthError.UNSUPPORTED_GRANT_TYPE, "The grant type must be client_credentials."
    ),
    Reason.PROXY_ASSERTION_UNSUPPORTED: _bad(
        "Authenticate with a client secret: assertions are not forwarded."
    ),
    Reason.PROXY_PARAMETER_NOT_ALLOWED: _bad("A parameter is not forwarded to this upstream."),
    Reason.PROXY_CLIENT_NOT_ALLOWED: PublicError(
        OAuthError.UNAUTHORIZED_CLIENT, "This client may not use the proxy for this upstream."
    ),
    Reason.PROXY_SCOPE_NOT_ALLOWED: _scope("This client may not ask for that scope here."),
    Reason.PROXY_DENIED: PublicError(
        OAuthError.UNAUTHORIZED_CLIENT, "The policy does not allow this client that token."
    ),
    # Never rendered: what the upstream has said is what the client reads.
    Reason.PROXY_REFUSED_UPSTREAM: _client("The answer is the upstream's own."),
    Reason.PROXY_UPSTREAM_INVALID: PublicError(
        OAuthError.SERVER_ERROR,
        "The upstream gave an answer that is none.",
        HTTPStatus.BAD_GATEWAY,
    ),
    Reason.PROXY_UPSTREAM_UNAVAILABLE: _unavailable("The upstream does not answer just now."),
    Reason.LIMIT_SOURCE: _throttled("Too many requests come from this address.", 1),
    Reason.LIMIT_CLIENT_RATE: _throttled("This client sends too many requests.", 1),
    Reason.LIMIT_CLIENT_DAILY: _throttled("This client has sent all requests of its day.", 60),
    Reason.LIMIT_CLIENT_CONCURRENT: _throttled(
        "This client sends too many requests at the same time.", 1
    ),
    Reason.LIMIT_TARGET_RATE: _throttled("This client sends too many requests for this target.", 1),
    Reason.LIMIT_TARGET_DAILY: _throttled(
        "This client has sent all requests of its day for this target.", 60
    ),
    Reason.LIMIT_TARGET_CONCURRENT: _throttled(
        "This client sends too many requests for this target at the same time.", 1
    ),
    Reason.LIMIT_OVERLOADED: _unavailable("There is more to do than can be done; try again."),
    Reason.SERVER_ERROR: PublicError(
        OAuthError.SERVER_ERROR, "Something went wrong here.", HTTPStatus.INTERNAL_SERVER_ERROR
    ),
}
