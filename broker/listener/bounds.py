"""What a peer may use of a listener."""

import resource
from dataclasses import dataclass, replace

from broker.oauth import MAX_REQUEST_HEADERS


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a peer may use. Times in seconds, sizes in bytes."""

    head: int = MAX_REQUEST_HEADERS  # request line and header fields
    fields: int = 100
    head_time: float = 10.0  # from the connection, or the first byte of a later request
    body_time: float = 12.0  # a little more than the endpoint waits, whose refusal is recorded
    body_framing: int = 512 * 1024  # chunk sizes and extensions, trailers, and the body itself
    idle_time: float = 30.0  # between two requests
    read_time: float = 10.0  # for the peer to go on reading its answer
    linger_time: float = 2.0  # for a refused peer to read why
    linger: int = 1024 * 1024  # what it may go on sending meanwhile
    last_time: float = 0.25  # for a request that is on its way when the listener stops
    stop_time: int = 5  # for requests in flight when the listener stops
    connections: int = 10_000
    requests: int = 4_000  # at the same time, over all connections


def within_descriptors(bounds: Bounds) -> Bounds:
    """Return the bounds with only as many connections as leave files for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return bounds
    return replace(bounds, connections=min(bounds.connections, max(soft // 2, soft - 256)))
