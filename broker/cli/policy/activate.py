"""``broker policy activate`` and ``rollback``: another policy on every process, and back."""

import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.options import Config, Format, Output
from broker.cli.policy.rollout import (
    COULD_NOT,
    Author,
    Wait,
    Why,
    author_or_operator,
    change,
    print_change,
    warn,
)
from broker.errors import ConfigurationError
from broker.policy.activate import Record, roll_back
from broker.policy.activate import activate as activate_policy
from broker.policy.activation import MAX_CLIENTS, Activation, Mode, Share
from broker.policy.archive import MAX_ARCHIVE
from broker.policy.bundle import build_bundle, render_archive
from broker.policy.opening import check_bundle
from broker.policy.store import BundleUnknown, PolicyLedger
from broker.settings import Settings, load_settings

ACTIVATE_HELP: Final = (
    "Exit codes: **0** every running process follows, **1** activated, and one of them does not"
    " follow, **2** not activated, as far as is known.\n\n"
    "Example: `broker policy activate bundle.tar.gz --mode canary --percent 5"
    " --author ci --reason 4f2a9c1 --config broker.yaml`"
)
ROLLBACK_HELP: Final = (
    "Exit codes: **0** every running process follows, **1** rolled back, and one of them does not"
    " follow, **2** not rolled back, as far as is known.\n\n"
    "Example: `broker policy rollback --reason 'checkout is refused' --config broker.yaml`"
)
_REVISION: Final = re.compile(r"[0-9a-f]{6,64}")


def activate(
    what: Annotated[
        str,
        typer.Argument(
            help="A built bundle, a policy folder, or the revision (or its beginning) of a bundle"
            " that was activated before, in whatever mode.",
        ),
    ],
    mode: Annotated[
        Mode,
        typer.Option(
            help="`enforce`: it decides. `observe`: it is asked beside the policy in force, and"
            " differences are counted. `canary`: it decides for some clients."
        ),
    ] = Mode.ENFORCE,
    client: Annotated[
        list[str] | None,
        typer.Option(help="A client that the canary decides for; may be repeated."),
    ] = None,
    percent: Annotated[
        int, typer.Option(min=0, max=100, help="How many of all clients the canary decides for.")
    ] = 0,
    author: Author = None,
    reason: Why = "",
    wait: Wait = True,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Put another policy in force on every process, or try one beside it.

    The bundle is checked as each process would check it, stored in the database and recorded in the
    audit trail; the processes follow within a second, and after a restart. `broker policy rollback`
    undoes it, without the network that the bundle came over. What is activated outranks what
    `policy.path` names, until everything is rolled back.
    """
    settings = load_settings(config)
    share = _share(settings, mode, client or [], percent)
    given = _load(what, settings)

    async def wanted(ledger: PolicyLedger, record: Record) -> Activation:
        archive = await _find(ledger, what) if given is None else given
        bundle = check_bundle(archive, settings.policy, proxy=bool(settings.upstreams))
        return await activate_policy(
            ledger,
            record,
            revision=bundle.revision,
            archive=archive,
            mode=mode,
            share=share,
            by=author_or_operator(author),
            reason=reason,
        )

    print_change(change(settings, wanted, wait=wait), output)


def rollback(
    author: Author = None,
    reason: Why = "",
    wait: Wait = True,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Undo the newest change: end the trial of a candidate, or decide as before the last enforced.

    Where nothing was enforced before, what `policy.path` names decides again. Doing it twice goes
    one more step back.
    """
    settings = load_settings(config)

    def wanted(ledger: PolicyLedger, record: Record) -> Awaitable[Activation]:
        return roll_back(ledger, record, by=author_or_operator(author), reason=reason)

    print_change(change(settings, wanted, wait=wait), output)


def _share(settings: Settings, mode: Mode, clients: list[str], percent: int) -> Share:
    canary = mode is Mode.CANARY
    if canary != bool(clients or percent):
        text = (
            "--mode canary: say for whom, by --client or --percent"
            if canary
            else "--client and --percent: are only for --mode canary"
        )
        warn(text, "see broker policy activate --help")
        raise typer.Exit(COULD_NOT)
    unknown = sorted(set(clients) - {each.id for each in settings.clients})
    if unknown or len(clients) > MAX_CLIENTS:
        warn(
            f"--client: not configured: {', '.join(unknown)}"
            if unknown
            else f"--client: at most {MAX_CLIENTS}",
            "name clients as the configuration does",
        )
        raise typer.Exit(COULD_NOT)
    return Share(percent, frozenset(clients))


def _load(what: str, settings: Settings) -> bytes | None:
    """Return the archive of a path; None: it is a revision. Raises ``ConfigurationError``."""
    path = Path(what)
    if path.is_dir():
        if settings.policy.verification is not None:
            raise ConfigurationError(
                f"{path} is a folder, and policy.verification asks for a signed bundle; make one"
                " with broker policy build --signing-key"
            )
        return render_archive(build_bundle(path), "wasm")
    if path.exists():
        try:
            with path.open("rb") as file:
                return file.read(MAX_ARCHIVE + 1)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    if _REVISION.fullmatch(what) is None:
        raise ConfigurationError(f"{path}: there is no such bundle, folder or revision")
    return None


async def _find(ledger: PolicyLedger, beginning: str) -> bytes:
    """Return the archive of the one revision that begins so. Raises ``BundleUnknown``."""
    found = await ledger.find_bundles(beginning)
    if len(found) > 1:
        raise BundleUnknown(f"{beginning}: several revisions begin so; write more of it")
    if not found:
        raise BundleUnknown(f"{beginning}: no bundle of this revision is kept")
    return await ledger.load_bundle(found[0])
