"""``broker doctor``: what is wrong with what a configuration points to, said with its remedy."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import typer

from broker.cli.check import report
from broker.cli.console import build_console
from broker.cli.findings import Finding, bad
from broker.cli.inspect_keys import Party, PartyKeys, parties, shared_keys
from broker.cli.inspection import inspect
from broker.cli.options import Config, Format, Output
from broker.cli.probe_database import probe_database
from broker.cli.probe_issuers import probe_party
from broker.cli.probe_services import probe_collector, probe_listeners, probe_opa
from broker.cli.probe_upstreams import probe_store, probe_upstream
from broker.issuers.fetch import build_tls
from broker.settings import Settings

_PATIENCE: Final = 5.0  # seconds, for each look; all look at the same time

app = typer.Typer(rich_markup_mode="markdown")


@app.command(
    epilog="Exit codes: **0** all is well, **1** something should be looked at, **2** something"
    " will fail.\n\nExample: `broker doctor --config broker.yaml`"
)
def doctor(
    config: Config = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what is wrong with a configuration and with everything that it points to.

    All that `broker check` looks at, and: whether the database is reachable, durable, migrated and
    entered with the right role; whether the audit key opens its trail, and how far that is sealed
    and as it is outside; the keys of every issuer and client; clocks; the OPA server; upstreams of
    the token proxy; the signing keys; the ports. Nothing is changed, and no look takes longer than
    five seconds.
    """
    with build_console(stderr=True).status("looking …", spinner_style="link"):
        inspection = inspect(config)
        owners = list(inspection.keys)
        findings = list(inspection.findings)
        if inspection.settings is not None:
            more, fetched = asyncio.run(_look_outside(inspection.settings, inspection.revision))
            findings += more
            owners += fetched
        findings += shared_keys(owners)
    report(findings, output)


async def _look_outside(
    settings: Settings, revision: str | None
) -> tuple[list[Finding], list[PartyKeys]]:
    owners: list[PartyKeys] = []
    tls = build_tls()

    async def keys_of(party: Party) -> list[Finding]:
        fetched = await probe_party(party, tls)
        owners.extend([fetched.keys] if fetched.keys else [])
        return fetched.findings

    looks = [
        _bounded("database", probe_database(settings)),
        *(
            _bounded(party.subject, keys_of(party))
            for party in parties(settings.issuers, settings.clients)
            if party.is_fetched
        ),
        _bounded("OPA server", probe_opa(settings, revision)),
        *(
            _bounded(f"token endpoint of {upstream.name}", probe_upstream(upstream, tls))
            for upstream in settings.upstreams
        ),
        _bounded("proxy store", probe_store(settings)),
        _bounded("telemetry", probe_collector(settings)),
        _bounded("listen", probe_listeners(settings)),
    ]
    found = await asyncio.gather(*looks)
    return [finding for findings in found for finding in findings], owners


async def _bounded(subject: str, look: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    """Return what a look found, or that it took too long or failed: one never hides the others."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await look
    except TimeoutError:
        text = f"no answer within {_PATIENCE:.0f} s"
        return [bad(subject, text, "check that it runs, and the way there")]
    except Exception as error:  # noqa: BLE001 — whatever it is, it is the finding
        return [bad(subject, f"could not be looked at ({type(error).__name__})", "look by hand")]
