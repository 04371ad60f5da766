"""``broker policy explain``: why an exchange is decided as it is, rule by rule."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from broker.cli.audit.source import (
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    told,
)
from broker.cli.console import build_console
from broker.cli.options import Config, Format, Output
from broker.cli.policy.explain_asked import (
    Asked,
    ask_by_file,
    ask_by_options,
    parse_claims,
    parse_id,
)
from broker.cli.policy.explain_said import (
    print_client_answer,
    print_disagreement,
    print_refusal,
)
from broker.cli.policy.explain_told import Told, explain_asked, explain_recorded, tell_client
from broker.cli.policy.explain_trail import Found, find_recorded
from broker.cli.policy.explain_tree import TreePrinter
from broker.cli.policy.folder import FOLDER
from broker.settings import Settings, load_settings
from broker.workbench.scenarios.setting import PARTIES

EXPLAIN_HELP: Final = (
    "Exit codes: **0** explained, whatever the outcome; **1** two evaluations of one policy"
    " contradict each other; **2** it could not be explained.\n\n"
    "Example: `broker policy explain --client checkout --target inventory"
    " --scope inventory.write --subject alice --subject-issuer idp --subject-scope inventory.read"
    " --why-not inventory.write --config broker.yaml`\n\n"
    "Example: `broker policy explain --request-id 019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b"
    " --config broker.yaml`"
)
_CONTRADICTION: Final = 1
_CEILING: Final = 8  # where no configuration says it
_WORDS: Final = "Request"


def explain(
    request: Annotated[
        str | None,
        typer.Argument(
            help="A file (a policy input as JSON, a request or scenarios as YAML), or the id of a"
            " row, a token or a request in the trail.",
            show_default=False,
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(help="The request on record that was answered with this X-Request-Id."),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Of a scenario file: the one with this text in its name.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="Who asks.", rich_help_panel=_WORDS)] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="What for; repeatable.", rich_help_panel=_WORDS)
    ] = None,
    resource: Annotated[
        list[str] | None, typer.Option(help="The same by URI.", rich_help_panel=_WORDS)
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What is asked for; none: the defaults.", rich_help_panel=_WORDS),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="Whose token, like `idp:alice`.", rich_help_panel=_WORDS),
    ] = None,
    subject_issuer: Annotated[
        str | None,
        typer.Option(help="Alias or URL, if not said there.", rich_help_panel=_WORDS),
    ] = None,
    subject_scope: Annotated[
        list[str] | None, typer.Option(help="What that token holds.", rich_help_panel=_WORDS)
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="A claim of it, like `acr=gold`.", rich_help_panel=_WORDS),
    ] = None,
    chain: Annotated[
        list[str] | None,
        typer.Option(
            help="Who acts in it, the current actor first, like `checkout` or `idp:batch`.",
            rich_help_panel=_WORDS,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="Exchanges that it came from.", rich_help_panel=_WORDS),
    ] = None,
    max_depth: Annotated[
        int | None,
        typer.Option(min=0, help="Exchanges that it allows.", rich_help_panel=_WORDS),
    ] = None,
    exchanged: Annotated[
        bool | None,
        typer.Option(
            "--exchanged/--foreign",
            help="Whether this broker has issued it; it has with a chain or a depth.",
            show_default=False,
            rich_help_panel=_WORDS,
        ),
    ] = None,
    life: Annotated[
        str | None, typer.Option(help="What is left of it, like `5m`.", rich_help_panel=_WORDS)
    ] = None,
    actor: Annotated[
        str | None, typer.Option(help="Whose actor token.", rich_help_panel=_WORDS)
    ] = None,
    purpose: Annotated[
        str | None, typer.Option(help="The parameter `purpose`.", rich_help_panel=_WORDS)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="When, like `2026-11-24T12:00:00Z`; now.", rich_help_panel=_WORDS),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="From which address.", rich_help_panel=_WORDS)
    ] = None,
    why_not: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Also say why this scope is not granted, and the smallest change that grants it.",
        ),
    ] = None,
    for_client: Annotated[
        bool,
        typer.Option("--for-client", help="Only what can be sent to the team of the client."),
    ] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="Also list every rule that was looked into.")
    ] = False,
    policies: Annotated[
        list[Path] | None,
        typer.Option(
            help="The policy: a folder or a built bundle. Of several, the one that decided then;"
            " absent: what the configuration names, or `policies`.",
            show_default=False,
        ),
    ] = None,
    output: Output = Format.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Tell why an exchange is decided as it is: by which rules, limits and grants, line by line.

    The request is one that you describe, one in a file, or one in the audit trail, by the id of
    its row, its token, or the X-Request-Id that its client was answered with.

    What counts is decided by the engine; which rules held is found by a second evaluation, and
    both are compared. An old request is explained by the policy in force then if `--policies`
    names it or a rollout has kept it, and else by the present one; it says which, and whether the
    outcome is the same.
    """
    given: dict[str, Any] = {
        "client": client,
        "target": target,
        "resource": resource,
        "asks": [one for each in scope or () for one in each.split()],
        "subject": subject,
        "holds": [one for each in subject_scope or () for one in each.split()],
        "chain": chain,
        "depth": depth,
        "max_depth": max_depth,
        "exchanged": bool(chain or depth) if exchanged is None else exchanged,
        "life": life,
        "actor": actor,
        "purpose": purpose,
        "at": at,
        "source": source,
    }
    with told():
        found: Found | None = None
        asked: Asked | None = None
        given["claims"] = parse_claims(claim or ())
        by_words = subject_issuer is not None or any(given.values())
        file = None if request is None or parse_id(request) else Path(request)
        if sum((by_words, request is not None, request_id is not None)) != 1:
            raise Unclear(
                "name one request: by --client and what belongs to it, by a file, or by an id"
            )
        if by_words:
            asked = ask_by_options(given, subject_issuer, load_settings(config, only=PARTIES))
        elif file is not None:
            parties = None if config is None else load_settings(config, only=PARTIES)
            asked = ask_by_file(file, scenario, parties)
        else:
            row = None if request is None else parse_id(request)
            vault = find_vault(config, database_url, key_file)
            with find_database(config, database_url) as url:
                wanted = request_id or row
                found = asyncio.run(find_recorded(url, vault, row=row, request_id=wanted))
        ceiling = _find_ceiling(config, asked)
        places = policies or [_find_policy(config)]
        if found is not None:
            result = explain_recorded(found, places, ceiling, why_not or ())
        else:
            result = explain_asked(asked or Asked(), places[0], ceiling, why_not or ())
    if for_client:
        recorded = None if found is None else found.recorded
        result = tell_client(result, recorded, why_not[0] if why_not else None)
    _print(result, output, rules=rules)


def _print(result: Told, output: Format, *, rules: bool) -> None:
    console = build_console()
    contradicts = result.explanation is not None and print_disagreement(
        result.explanation, result.since, build_console(stderr=True)
    )
    if output is Format.JSON:
        print(orjson.dumps(result.render(), option=orjson.OPT_INDENT_2).decode())
    elif result.answer is not None:
        print_client_answer(result.answer, console)
    elif result.early is not None:
        print_refusal(result.early, result.sent, console)
        TreePrinter(console, result.folder).print_why_not(result.why_not)
    elif result.explanation is not None:
        printer = TreePrinter(console, result.folder)
        printer.print(result.explanation, since=result.since, rules=rules)
        printer.print_why_not(result.why_not)
    if contradicts:
        raise typer.Exit(_CONTRADICTION)


def _find_ceiling(config: Path | None, asked: Asked | None) -> int:
    settings: Settings | None = None if asked is None else asked.settings
    if settings is None and config is not None:
        settings = load_settings(config, only=PARTIES)
    return _CEILING if settings is None else settings.max_delegation_depth


def _find_policy(config: Path | None) -> Path:
    if config is None:
        return FOLDER
    # Of the configuration only what is asked for: who explains needs no secret.
    return load_settings(config, only={*PARTIES, "policy"}).policy.path
