"""Flaws of a policy as findings: the place comes first, so that an editor can jump there."""

from broker.cli.findings import Finding, bad, warning
from broker.policy.review.flaw import Flaw


def render_flaw(flaw: Flaw) -> Finding:
    """Return the finding: bad if a request will be refused for it, else a warning."""
    text = f"{flaw.place}: {flaw.text}" if flaw.place else flaw.text
    return (bad if flaw.fails else warning)(flaw.subject, text, flaw.remedy)
