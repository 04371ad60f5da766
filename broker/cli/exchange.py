"""``broker exchange``: one exchange at any RFC 8693 server, and what it changed."""

import asyncio
import os
import ssl
import sys
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

import httpx
import orjson
import typer
from rich.console import Console
from rich.text import Text

from broker.cli.answer import print_issued, print_json, print_refusal, render_pause
from broker.cli.backoff import Patience, ask_patiently
from broker.cli.console import build_console, printable
from broker.cli.options import Format
from broker.cli.token_request import (
    Answer,
    CannotAsk,
    ClientCredentials,
    ask,
    check_transport,
    discover_token_endpoint,
    load_private_key,
)
from broker.cli.unverified import decode_unverified
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, AuthMethod

REFUSED: Final = 1
COULD_NOT_ASK: Final = 2
_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:"  # noqa: S105 — a prefix, RFC 8693 §3

app = typer.Typer(rich_markup_mode="markdown")


class Method(StrEnum):
    """How the client authenticates."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    KEY = "private_key_jwt"
    NONE = "none"


@app.command(
    epilog="Exit codes: **0** issued, **1** refused, **2** could not ask.\n\n"
    "Example: `broker exchange --token-endpoint https://broker.example.com/token --client-id"
    " checkout --client-secret-file secret --subject-token-file token --audience inventory"
    " --scope inventory.read`"
)
def exchange(
    subject_token_file: Annotated[
        Path,
        typer.Option(
            help="File with the token to exchange; `-` reads standard input.", show_default=False
        ),
    ],
    audience: Annotated[
        list[str] | None, typer.Option(help="Logical name of the target; may be repeated.")
    ] = None,
    resource: Annotated[
        list[str] | None, typer.Option(help="URI of the target (RFC 8707); may be repeated.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="Scopes to ask for, in one argument, by spaces.")
    ] = None,
    token_endpoint: Annotated[
        str | None, typer.Option(help="URL of the token endpoint.", rich_help_panel="Server")
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            help="Issuer, to find its token endpoint by its metadata (RFC 8414).",
            rich_help_panel="Server",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Further trust anchors (PEM) for https.", rich_help_panel="Server"),
    ] = None,
    allow_http: Annotated[
        bool,
        typer.Option(
            "--allow-http", help="Plain http also beyond loopback.", rich_help_panel="Server"
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for an answer.", rich_help_panel="Server")
    ] = 10.0,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            max=20,
            help="How often to ask again where the server is busy (429, 503), each time after a"
            " random pause that grows, and never before `Retry-After`.",
            rich_help_panel="Server",
        ),
    ] = 3,
    patience: Annotated[
        float,
        typer.Option(min=0, help="Seconds for all of that together.", rich_help_panel="Server"),
    ] = 30.0,
    client_id: Annotated[
        str | None, typer.Option(help="The client that asks.", rich_help_panel="Client")
    ] = None,
    client_secret_file: Annotated[
        Path | None, typer.Option(help="File with its secret.", rich_help_panel="Client")
    ] = None,
    client_secret_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with its secret.", rich_help_panel="Client"),
    ] = None,
    private_key_file: Annotated[
        Path | None,
        typer.Option(help="Its private key (PEM), for private_key_jwt.", rich_help_panel="Client"),
    ] = None,
    key_id: Annotated[
        str | None,
        typer.Option(
            help="The `kid` of that key; absent: its thumbprint (RFC 7638).",
            rich_help_panel="Client",
        ),
    ] = None,
    auth_method: Annotated[
        Method | None,
        typer.Option(
            help="How it authenticates; absent: basic with a secret, private_key_jwt with a key.",
            rich_help_panel="Client",
        ),
    ] = None,
    assertion_audience: Annotated[
        str | None,
        typer.Option(
            help="`aud` of its assertion; absent: the issuer, or else the endpoint.",
            rich_help_panel="Client",
        ),
    ] = None,
    subject_token_type: Annotated[
        str, typer.Option(help="Its type: a URI, or access_token, jwt, id_token, …")
    ] = "access_token",  # noqa: S107 — a type
    actor_token_file: Annotated[
        Path | None, typer.Option(help="File with the token of who acts.")
    ] = None,
    actor_token_type: Annotated[str, typer.Option(help="Its type.")] = "access_token",  # noqa: S107 — a type
    requested_token_type: Annotated[
        str | None, typer.Option(help="Type to ask for; absent: the server's choice.")
    ] = None,
    purpose: Annotated[
        str | None, typer.Option(help="Why, where a grant wants to know (an extension).")
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", help="How to print what came back.")
    ] = Format.TABLE,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print only the issued token, for scripts.")
    ] = False,
) -> None:
    """Exchange a token at any RFC 8693 server, and print what came back beside what was presented.

    Tokens are shown decoded, and nothing in them is verified here. The issued token itself is
    printed only with `--raw` or `--format json`. Secrets are read from files and variables, never
    from the command line, where other users could see them.
    """
    errors = build_console(stderr=True)
    try:
        subject = decode_unverified(_load_secret(subject_token_file))
        form = [
            ("grant_type", GRANT_TYPE_TOKEN_EXCHANGE),
            ("subject_token", subject.token),
            ("subject_token_type", _token_type(subject_token_type)),
            *(("audience", value) for value in audience or ()),
            *(("resource", value) for value in resource or ()),
        ]
        if actor_token_file is not None:
            form.append(("actor_token", _load_secret(actor_token_file)))
            form.append(("actor_token_type", _token_type(actor_token_type)))
        if requested_token_type is not None:
            form.append(("requested_token_type", _token_type(requested_token_type)))
        form += [(name, value) for name, value in (("scope", scope), ("purpose", purpose)) if value]
        credentials = _credentials(
            client_id=client_id,
            secret=_client_secret(client_secret_file, client_secret_env),
            private_key_file=private_key_file,
            key_id=key_id,
            method=auth_method,
            audience=assertion_audience or issuer,
        )
        answer = asyncio.run(
            _ask(
                endpoint=token_endpoint,
                issuer=issuer,
                form=form,
                credentials=credentials,
                verify=_tls(ca_file),
                allow_http=allow_http,
                timeout=timeout,
                patience=Patience(retries, patience),
                errors=errors,
            )
        )
    except CannotAsk as cannot:
        if output is Format.JSON:
            print(orjson.dumps({"could_not_ask": cannot.text, "remedy": cannot.remedy}).decode())
        errors.print(Text.assemble(("✗ could not ask: ", "bad"), printable(cannot.text)))
        errors.print(f"  → {printable(cannot.remedy)}", markup=False)
        raise typer.Exit(COULD_NOT_ASK) from None

    if output is Format.JSON:
        print_json(subject, answer)
    elif answer.is_refusal:
        print_refusal(subject, answer, errors)
    elif raw:
        print(answer.body["access_token"])
    else:
        print_issued(subject, answer, build_console())
    if answer.is_refusal:
        # A server that is busy or broken has decided nothing: the same may succeed later.
        undecided = answer.is_busy or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        raise typer.Exit(COULD_NOT_ASK if undecided else REFUSED)


async def _ask(
    *,
    endpoint: str | None,
    issuer: str | None,
    form: list[tuple[str, str]],
    credentials: ClientCredentials,
    verify: ssl.SSLContext,
    allow_http: bool,
    timeout: float,  # noqa: ASYNC109 — of each step of the connection, not of the whole
    patience: Patience,
    errors: Console,
) -> Answer:
    if endpoint is None and issuer is None:
        raise CannotAsk("it is not said where", "name --token-endpoint, or --issuer")
    for url in filter(None, (issuer, endpoint)):
        check_transport(url, allow_http=allow_http)
    # Proxies of the environment are not used: they would see the tokens of plain http.
    async with httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False) as client:
        if endpoint is None:
            endpoint = await discover_token_endpoint(client, issuer or "")
            check_transport(endpoint, allow_http=allow_http)
        found = endpoint

        def tell(answer: Answer, seconds: float) -> None:
            errors.print(f"busy ({answer.status}); asking again in {seconds:.1f} s", style="dim")

        answer = await ask_patiently(
            lambda: ask(client, found, form, credentials), patience, tell=tell
        )
    if answer.is_busy and not answer.is_refusal:
        raise CannotAsk(f"{found} is busy ({answer.status})", render_pause(answer))
    return answer


def _credentials(
    *,
    client_id: str | None,
    secret: str | None,
    private_key_file: Path | None,
    key_id: str | None,
    method: Method | None,
    audience: str | None,
) -> ClientCredentials:
    if secret is not None and private_key_file is not None:
        raise CannotAsk("a client authenticates by a secret or by a key", "give one of them")
    if method is None:
        method = Method.BASIC if secret is not None else Method.NONE
        method = Method.KEY if private_key_file is not None else method
    needs = {Method.BASIC: secret, Method.POST: secret, Method.KEY: private_key_file}
    if method in needs and needs[method] is None:
        what = "--private-key-file" if method is Method.KEY else "--client-secret-file"
        raise CannotAsk(f"{method} needs {what}", f"give {what}")
    if method is not Method.NONE and not client_id:
        raise CannotAsk("the client has no name", "give --client-id")
    return ClientCredentials(
        client_id=client_id,
        secret=secret,
        method=None if method is Method.NONE else AuthMethod(method.value),
        key=None if private_key_file is None else load_private_key(private_key_file),
        key_id=key_id,
        audience=audience,
    )


def _client_secret(file: Path | None, variable: str | None) -> str | None:
    if file is not None:
        return _load_secret(file)
    if variable is None:
        return None
    secret = os.environ.get(variable)
    if not secret:
        raise CannotAsk(f"the environment variable {variable} is not set, or empty", "set it")
    return secret


def _load_secret(path: Path) -> str:
    """Return what a file holds, without the newline that editors add; ``-``: standard input."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
    except OSError as error:
        raise CannotAsk(f"{path}: cannot be read ({error.strerror})", "name another file") from None
    except UnicodeDecodeError:
        raise CannotAsk(f"{path}: is not text", "name another file") from None
    if not text.strip():
        raise CannotAsk(f"{path}: is empty", "put the token or secret into it")
    return text.strip()


def _token_type(name: str) -> str:
    return name if ":" in name else _TOKEN_TYPE + name


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError):
            raise CannotAsk(f"{ca_file}: holds no certificate in PEM", "name another") from None
    return context
