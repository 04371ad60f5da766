"""Flaws of a policy as findings: the place comes first, so that an editor can jump there."""

from typing import Final

from broker.cli.findings import Finding, bad, hint, warning
from broker.policy.review.flaw import Flaw, Weight

_MAKE: Final = {Weight.FAULT: bad, Weight.DOUBT: warning, Weight.HINT: hint}


def render_flaw(flaw: Flaw) -> Finding:
    """Return the finding: bad if a request will be refused for it, or a warning, or a hint."""
    text = f"{flaw.place}: {flaw.text}" if flaw.place else flaw.text
    return _MAKE[flaw.weight](flaw.subject, text, flaw.remedy)
