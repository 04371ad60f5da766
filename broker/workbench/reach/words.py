"""A hop in words, for every way to print it."""

from datetime import timedelta

from broker.oauth import Mode
from broker.settings.values import render_duration
from broker.workbench.reach.walk import Hop, Reach


def say_scopes(hop: Hop) -> tuple[str, ...]:
    """Return its scopes, each with what it follows from."""
    sources = dict(hop.terms.derived)
    return tuple(f"{s} ← {sources[s]}" if s in sources else s for s in hop.scopes)


def say_bounds(hop: Hop) -> str:
    """Return how long it lives, and what is not as usual."""
    parts = [render_duration(timedelta(seconds=hop.terms.lifetime))]
    if hop.terms.mode is Mode.IMPERSONATION:
        parts.append(hop.terms.mode.value)
    if hop.purposes:
        parts.append(f"for {' or '.join(hop.purposes)}")
    if hop.terms.obligations:
        parts.append(f"obliges to {', '.join(sorted(hop.terms.obligations))}")
    return ", ".join(parts)


def say_path(path: tuple[Hop, ...]) -> str:
    """Return which clients asked for which targets, one after the other."""
    return " ⇒ ".join(f"{hop.client} → {hop.target}" for hop in path)


def say_start(reach: Reach) -> str:
    """Return what it begins with."""
    return f"{reach.client} with a token of {reach.issuer}:{reach.subject}"
