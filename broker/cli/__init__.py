"""The command line: one file per command group, imported only when it is the one asked for."""

import codecs
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Final

import typer

from broker.errors import ConfigurationError

_START: Final = "Start"
_ASK: Final = "Exchange and diagnose"
_OPERATE: Final = "Operate"


_ASCII: Final = {"✓": "+", "✗": "x", "→": ">", "└": "`", "·": ".", "█": "#", "░": ".", "…": "~"}


@dataclass(frozen=True, slots=True)
class _Command:
    """A command as ``broker --help`` lists it, and by its name the module that has it."""

    name: str
    summary: str
    panel: str


COMMANDS: Final = (
    _Command("dev", "Start everything here, show exchanges being made, keep serving.", _START),
    _Command("serve", "Run the broker with a configuration: production.", _START),
    _Command("exchange", "Exchange a token at any RFC 8693 server, and see what changed.", _ASK),
    _Command("check", "Say what is wrong with a configuration, without starting it.", _ASK),
    _Command("doctor", "Say what is wrong with what a configuration points to.", _ASK),
    _Command("migrate", "Bring the database to this version's schema.", _OPERATE),
    _Command("keys", "List, rotate and revoke the keys that tokens are signed with.", _OPERATE),
    _Command(
        "revoke", "Cut off a user, a client, a token or more, and see what that hits.", _OPERATE
    ),
    _Command("clients", "List clients, make their secrets.", _OPERATE),
    _Command("policy", "Build, test and check the policy.", _OPERATE),
    _Command("proxy", "See what the token proxy saves.", _OPERATE),
    _Command(
        "audit", "Ask who got what on whose behalf, and prove that it is unchanged.", _OPERATE
    ),
)


def build_app(names: Collection[str] | None = None) -> typer.Typer:
    """Return the whole command line; of the commands not in ``names``, only their summaries.

    None stands for all of them. Importing one command's libraries must not slow down another.
    """
    app = typer.Typer(
        name="broker",
        help="An RFC 8693 token-exchange broker: narrower tokens, decided by Rego, recorded for"
        " good.\n\n`broker dev` shows what it does in a minute.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        # What is on the stack may hold tokens and keys.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in COMMANDS:
        if names is None or command.name in names:
            _add(app, command)
        else:
            _name(app, command)
    return app


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Return in ASCII what a terminal cannot show, so that good and bad still differ."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in text), error.end


codecs.register_error("broker.signs", _spell)


def main() -> None:
    """Run the command that the arguments name. Exit code 2: the configuration is unusable."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets another for it; it is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="broker.signs")
    # Before the first command there are only flags, so the first word that is none names it.
    first = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    completing = "_BROKER_COMPLETE" in os.environ
    try:
        build_app(None if completing else {first} if first else ())(prog_name="broker")
    except ConfigurationError as error:
        typer.echo(f"broker: the configuration is unusable\n{_indented(error)}", err=True)
        sys.exit(2)


def _root(
    show_version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True
    ),
) -> None:
    if show_version:
        typer.echo(f"broker {version('token-exchange-broker')}")
        raise typer.Exit


def _add(app: typer.Typer, command: _Command) -> None:
    module = import_module(f"broker.cli.{command.name}")
    group: typer.Typer = module.app
    single = group.registered_commands[0] if len(group.registered_commands) == 1 else None
    if single is not None and single.callback is not None and group.registered_callback is None:
        # A module with one command *is* that command.
        app.command(
            command.name,
            help=single.help,
            epilog=single.epilog,
            short_help=command.summary,
            rich_help_panel=command.panel,
        )(single.callback)
    else:
        app.add_typer(
            group, name=command.name, short_help=command.summary, rich_help_panel=command.panel
        )


def _name(app: typer.Typer, command: _Command) -> None:
    @app.command(command.name, help=command.summary, rich_help_panel=command.panel)
    def named() -> None:
        raise AssertionError("listed only; the one that is asked for is imported")


def _indented(error: ConfigurationError) -> str:
    return "\n".join(f"  {line}" for line in str(error).splitlines())
