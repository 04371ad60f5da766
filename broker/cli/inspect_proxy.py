"""What can be said of the token proxy without asking anybody."""

from collections.abc import Iterator

from broker.cli.findings import Finding, bad, good, hint
from broker.errors import ConfigurationError
from broker.issuers.fetch import build_tls
from broker.issuers.sources import tls_for
from broker.policy.bundle import Bundle
from broker.policy.load import require_proxy
from broker.settings import Settings, Upstream


def inspect_proxy(settings: Settings, bundle: Bundle | None) -> Iterator[Finding]:
    """Yield what is to be said of upstreams, and whether the policy decides about them.

    ``bundle`` is None where the policy does not compile, or is a server's.
    """
    if not settings.upstreams:
        return
    for upstream in settings.upstreams:
        yield _upstream(upstream)
    if bundle is not None:
        try:
            require_proxy(bundle, settings.policy)
            yield good("policy of the proxy", "decides about upstreams")
        except ConfigurationError as error:
            said, _, mend = str(error).removeprefix("policy.path: ").partition("; ")
            yield bad("policy of the proxy", said, mend)


def _upstream(upstream: Upstream) -> Finding:
    name = f"upstream {upstream.name}"
    try:
        if upstream.ca_file is not None:
            tls_for(name, upstream.ca_file, build_tls())
    except ConfigurationError as error:
        return bad(name, str(error).removeprefix(f"{name}: "), "write a file of PEM certificates")
    if "*" in upstream.clients:
        text = "any client id is forwarded, so anybody who reaches the proxy makes it ask"
        return hint(name, text, "list the ids under clients")
    count = len(upstream.clients)
    return good(name, f"for {count} client{'' if count == 1 else 's'}")
