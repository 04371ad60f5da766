"""The answer to an exchange, for people and for programs."""

from typing import Final

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from broker.cli.comparison import Column, compare, describe, render_lifetime
from broker.cli.console import printable
from broker.cli.token_request import Answer
from broker.cli.unverified import UnverifiedToken, decode_unverified

_AGAIN: Final = "the server cannot answer now: try again in"
# What the caller can do about each code. RFC 6749 §5.2, RFC 8693 §2.2.2.
_REMEDIES: Final = {
    "invalid_client": "check --client-id and its secret or key, and which --auth-method"
    " the server expects of this client",
    "unauthorized_client": "the server knows this client and does not let it use token exchange:"
    " allow it there",
    "invalid_target": "name with --audience or --resource a target that the server knows and"
    " grants to this client",
    "invalid_scope": "ask with --scope for less: only what the subject token holds and this client"
    " is granted at the target",
    "unsupported_grant_type": "this server does not offer token exchange (RFC 8693) at this"
    " endpoint",
    "invalid_request": "look at the subject token above: its type, issuer, audience and expiry"
    " decide whether this client may present it",
    "invalid_grant": "look at the subject token above: the server does not accept it",
    "temporarily_unavailable": f"{_AGAIN} a moment",
    "server_error": "the failure is the server's: ask its operator, with the request id",
}


def print_issued(subject: UnverifiedToken, answer: Answer, console: Console) -> None:
    """Print what was issued beside what was presented; neither token itself."""
    body = answer.body
    issued = decode_unverified(body["access_token"])
    said = [
        ("type", str(body.get("issued_token_type", "not said, though RFC 8693 requires it"))),
        ("usage", str(body.get("token_type", "not said, though RFC 8693 requires it"))),
    ]
    if isinstance(expires_in := body.get("expires_in"), int):
        said.append(("expires in", render_lifetime(expires_in)))
    if "scope" in body:
        said.append(("scope", str(body["scope"])))
    if answer.request_id:
        said.append(("request id", answer.request_id))
    console.print()
    console.print(
        Text.assemble(("✓ issued ", "good"), (f"in {answer.milliseconds:.0f} ms", "quiet"))
    )
    for name, value in said:
        console.print(Text.assemble((f"  {name:<12}", "quiet"), printable(value)), soft_wrap=True)
    console.print()
    before, after = Column("presented", subject), Column("issued", issued)
    match subject.is_opaque, issued.is_opaque:
        case False, False:
            console.print(Padding(compare(before, after), (0, 2)))
        case True, False:
            console.print(Padding(describe(after), (0, 2)))
            console.print("  The presented token is opaque: nothing of it can be shown.")
        case _, True:
            if not subject.is_opaque:
                console.print(Padding(describe(before), (0, 2)))
            console.print("  The issued token is opaque: ask its issuer by introspection.")
    console.print()


def print_refusal(subject: UnverifiedToken, answer: Answer, console: Console) -> None:
    """Print the OAuth error, what was presented, and what the caller can do."""
    body = answer.body
    error = printable(str(body["error"]))
    console.print()
    if not subject.is_opaque:
        console.print(Padding(describe(Column("presented", subject)), (0, 2, 1, 2)))
    title = Text.assemble(("✗ refused: ", "bad"), (error, "code"), (f"  {answer.status}", "quiet"))
    console.print(title)
    if description := body.get("error_description"):
        console.print(f"  {printable(str(description))}", markup=False)
    if uri := body.get("error_uri"):
        console.print(f"  {printable(str(uri))}", markup=False, soft_wrap=True)
    remedy = render_pause(answer) if answer.is_busy else _REMEDIES.get(error)
    if remedy:
        console.print(Padding(Text(f"→ {remedy}"), (0, 0, 0, 2)))
    if answer.request_id:
        console.print(f"  request id {printable(answer.request_id)}", style="quiet", markup=False)
    console.print()


def render_pause(answer: Answer) -> str:
    """Return when a server that is busy can be asked again."""
    return f"{_AGAIN} {answer.retry_after:.0f} s" if answer.retry_after else f"{_AGAIN} a moment"


def print_json(subject: UnverifiedToken, answer: Answer) -> None:
    """Print the whole answer, the issued token with it, and both tokens decoded."""
    issued = answer.body.get("access_token")
    document = {
        "status": answer.status,
        "request_id": answer.request_id,
        "retry_after": answer.retry_after,
        "response": answer.body,
        "presented": _decoded(subject),
        "issued": None if issued is None else _decoded(decode_unverified(issued)),
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _decoded(token: UnverifiedToken) -> dict[str, object] | None:
    if token.is_opaque:
        return None
    return {"unverified_header": token.header, "unverified_claims": token.claims}
