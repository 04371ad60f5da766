"""What the outside says of all else: the OPA server, the collector, the ports, the broker."""

import asyncio
import errno
import os
import re
import socket
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from broker.cli.console import short_revision
from broker.cli.findings import Finding, bad, good, warning
from broker.settings import Settings
from broker.settings.sections import Admin, Listen

_TIMEOUT: Final = 3.0  # seconds
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ENTRYPOINT: Final = "broker/exchange/decision"


async def probe_opa(settings: Settings, revision: str | None) -> list[Finding]:
    """Return whether the OPA server answers, and has our policy; nothing for the other engine.

    ``revision`` is that of the policy folder here, if there is one that compiles.
    """
    url = settings.policy.url
    if settings.policy.engine != "opa" or url is None:
        return []
    base = url.rstrip("/")
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            health = await client.get(f"{base}/health", params={"bundles": "true"})
            answer = await client.post(
                f"{base}/v1/data/{_ENTRYPOINT}", params={"provenance": "true"}, json={"input": {}}
            )
    except httpx.HTTPError as error:
        text = f"{url} does not answer ({type(error).__name__})"
        return [bad("OPA server", text, "start it, or correct policy.url; until then all is 503")]
    if health.status_code != HTTPStatus.OK:
        text = f"{url} is not ready: its bundles are not loaded"
        return [bad("OPA server", text, "see its log; `opa run --server` takes policies/ with -b")]
    return [_judge_opa(url, answer, revision)]


def _judge_opa(url: str, answer: httpx.Response, revision: str | None) -> Finding:
    mend = "load the bundle of this repository into it: broker policy build makes one"
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        return bad("OPA server", f"{url} does not answer as OPA does", "correct policy.url")
    if "result" not in body:
        return bad("OPA server", f"{url} has no data.{_ENTRYPOINT.replace('/', '.')}", mend)
    provenance = body.get("provenance") or {}
    revisions = [
        str(bundle.get("revision", "")) for bundle in (provenance.get("bundles") or {}).values()
    ]
    # Ours is a digest; a bundle that somebody else's pipeline has named cannot be compared.
    known = [each for each in revisions if _DIGEST.fullmatch(each)]
    if revision is not None and known and revision not in known:
        text = (
            f"{url} decides by revision {short_revision(known[0])},"
            f" and the folder here is {short_revision(revision)}"
        )
        return warning("OPA server", text, f"{mend}; or correct policy.path")
    named = (
        f"revision {short_revision(known[0])}"
        if known
        else f"revision {', '.join(filter(None, revisions)) or 'not named'}"
    )
    return good("OPA server", f"{url} decides, {named}")


async def probe_collector(settings: Settings) -> list[Finding]:
    """Return whether something listens where spans are sent."""
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        return []
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
    except (OSError, TimeoutError):
        # Exchanges do not depend on it, so it is not bad.
        text = f"nothing listens at {endpoint}"
        return [warning("telemetry", text, "start the collector, or correct otlp_endpoint")]
    return [good("telemetry", f"{endpoint} listens")]


async def probe_listeners(settings: Settings) -> list[Finding]:
    """Return whether our ports can be had, or who has them: best of all, a broker that is ready."""
    own = settings.proxy.listen
    addresses: dict[str, Listen | Admin] = {"listen": settings.listen, "admin": settings.admin}
    if own is not None:
        addresses["proxy.listen"] = own
    numbers = await asyncio.gather(
        *(asyncio.to_thread(_bind, address) for address in addresses.values())
    )
    findings = [
        _judge_port(name, address, number)
        for (name, address), number in zip(addresses.items(), numbers, strict=True)
    ]
    if numbers[1] == errno.EADDRINUSE:
        running = await _probe_broker(settings)
        if running is not None:
            return [running]
    return findings


def _bind(listen: Listen | Admin) -> int:
    """Return the system's number for what keeps us from listening there; 0: nothing."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((listen.host, listen.port))
            tried.listen()
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def _judge_port(name: str, listen: Listen | Admin, number: int) -> Finding:
    where = f"{listen.host}:{listen.port}"
    if number == 0:
        return good(name, f"{where} is free")
    if number == errno.EADDRINUSE:
        return bad(name, f"{where} is taken by another program", f"stop it, or change {name}.port")
    if number == errno.EACCES:
        remedy = f"write a port of 1024 or more as {name}.port"
        return bad(name, f"{where} may not be used by this user", remedy)
    text = f"{where} cannot be listened on ({os.strerror(number)})"
    return bad(name, text, f"write an address of this machine as {name}.host")


async def _probe_broker(settings: Settings) -> Finding | None:
    """Return how the broker is that runs with these settings; None if it is something else."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.admin.host, settings.admin.host)  # noqa: S104 — read, not bound
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            answer = await client.get(f"http://{host}:{settings.admin.port}/health/ready")
            body = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    if not isinstance(body, dict) or "checks" not in body:
        return None
    if body.get("ready"):
        return good("broker", f"runs here and is ready, at port {settings.listen.port}")
    lacking = ", ".join(name for name, there in body["checks"].items() if not there)
    return bad("broker", f"runs here and is not ready: it lacks {lacking}", "see its log")
