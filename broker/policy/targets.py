"""Which configured targets a request means. RFC 8693 §2.1, RFC 8707 §2.

``audience`` and ``resource`` are compared code point by code point with what is configured:
nothing is normalised, so no spelling of a URI can reach a target that its owner did not write.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from broker.domain import Client, Target, TokenExchangeRequest
from broker.errors import DecisionRejected, Reason
from broker.oauth import TokenType


class TargetRegistry:
    """The targets by every name that a request may use for them."""

    def __init__(self, targets: Iterable[Target], *, max_targets: int) -> None:
        """``max_targets`` bounds how many one token may be for."""
        self._by_name = {target.name: target for target in targets}
        self._by_resource = {
            resource: target for target in self._by_name.values() for resource in target.resources
        }
        self._max_targets = max_targets

    def find(self, request: TokenExchangeRequest, client: Client) -> tuple[Target, ...]:
        """Return the targets that the request means, each once, in the order of the request.

        Raises ``DecisionRejected``: ``target.missing``, ``target.unknown``,
        ``target.resource_invalid``, ``target.too_many``, ``target.incompatible`` or
        ``target.format_unsupported``.
        """
        for resource in request.resources:
            if not _is_absolute_uri(resource):
                raise DecisionRejected(Reason.TARGET_RESOURCE_INVALID)
        found = [self._by_name.get(audience) for audience in request.audiences]
        found += [self._by_resource.get(resource) for resource in request.resources]
        if not found and client.default_target is not None:
            found = [self._by_name.get(client.default_target)]
        if not found:
            raise DecisionRejected(Reason.TARGET_MISSING)

        targets: dict[str, Target] = {}
        for target in found:
            # One that cannot be served refuses the whole request, RFC 8693 §2.2.2.
            if target is None:
                raise DecisionRejected(Reason.TARGET_UNKNOWN)
            targets[target.name] = target
        if len(targets) > self._max_targets:
            raise DecisionRejected(Reason.TARGET_TOO_MANY)
        if len({(t.format, t.algorithm, frozenset(t.claims)) for t in targets.values()}) > 1:
            raise DecisionRejected(Reason.TARGET_INCOMPATIBLE)
        if request.requested_token_type is TokenType.JWT and any(
            target.format != "jwt" for target in targets.values()
        ):
            raise DecisionRejected(Reason.TARGET_FORMAT_UNSUPPORTED)
        return tuple(targets.values())


def _is_absolute_uri(resource: str) -> bool:
    """Whether this is an absolute URI without a fragment. RFC 8707 §2, RFC 3986 §4.3."""
    # "#" alone is a fragment too, an empty one, which urlsplit does not show.
    if "#" in resource or not resource.isascii() or not resource.isprintable() or " " in resource:
        return False
    try:
        parts = urlsplit(resource)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or (parts.path and not resource.startswith("/"))))
