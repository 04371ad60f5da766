"""What ``broker policy explain`` says beside the tree, and instead of it."""

from rich.console import Console
from rich.text import Text

from broker.cli.console import printable
from broker.workbench.explain.client import ClientAnswer, Sent, support
from broker.workbench.explain.explanation import Agreement, Explanation
from broker.workbench.explain.record import Since
from broker.workbench.explain.refusal import EarlyRefusal


def print_disagreement(found: Explanation, since: Since | None, console: Console) -> bool:
    """Tell, where one decision was made twice and came out otherwise; return whether it was."""
    if found.agreement is Agreement.DIFFERENT:
        console.print(
            Text(
                "✗ THE TWO EVALUATIONS DIFFER. The engine that counts and opa eval do not decide"
                " alike on this input, so what is told of rules below may not be why. Do not roll"
                " this policy out; keep this input and report it.",
                "bad",
            )
        )
        said = f"  {printable(found.error)}" if found.error else f"  opa eval: {found.observed}"
        console.print(Text(f"  engine:   {found.decision}\n{said}", "bad"))
    if since is not None and since.contradicts:
        console.print(
            Text(
                "✗ THE RECORD SAYS OTHERWISE. The same policy decides otherwise than what is on"
                " record under its revision: verify the trail with broker audit verify.",
                "bad",
            )
        )
    return found.agreement is Agreement.DIFFERENT or (since is not None and since.contradicts)


def print_refusal(refusal: EarlyRefusal, sent: Sent, console: Console) -> None:
    """Print a refusal that the policy had no part in, and what is known of the request."""
    asked = ", ".join((*sent.audiences, *sent.resources)) or "its default target"
    who = f"{sent.client or 'a client that was not established'} → {asked}"
    scopes = " ".join(sent.scopes) or "the defaults"
    console.print(
        Text.assemble(("✗ ", "bad"), ("refused  ", "heading"), (refusal.reason.value, "bad")),
        Text(f"  by {refusal.by}, before the policy was asked", "quiet"),
        Text(printable(f"  {who}, asked for {scopes}")),
        Text(printable(f"  {sent.at}, request {sent.request_id}"), "quiet"),
        Text(f"  the client reads: {refusal.description}"),
        sep="\n",
    )


def print_client_answer(answer: ClientAnswer, console: Console) -> None:
    """Print what can be sent to a client team."""
    asked = ", ".join(answer.asked_for) or "the client's own default"
    scopes = " ".join(answer.scopes) or "the defaults"
    console.print(Text(f"Request {answer.request_id}, {answer.at}, client {answer.client}"))
    console.print(Text(f"Asked for: {printable(asked)}, scopes: {printable(scopes)}"))
    if answer.error:
        console.print(Text(f"Answered: {answer.error}"))
    else:
        granted = " ".join(answer.granted)
        console.print(Text(f"Granted: {printable(granted)}, for {answer.lifetime} s"))
    for point in answer.points:
        console.print(Text(f"- {printable(point)}."))
    console.print(Text(support()))
