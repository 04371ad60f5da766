"""From a token to its proof, as an auditor goes: issue, seal, prove, check; four programs."""

import asyncio
import json

from typer.testing import CliRunner

from broker.cli import build_app
from tests.jwts import unverified_claims


async def audit(*arguments):
    """One command, apart from the test's own loop."""
    command = ["audit", *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, build_app({"audit"}), command)


async def test_the_jti_of_a_token_is_all_it_takes_to_prove_it(broker, tmp_path):
    """The record of a token that somebody holds is in the log, for whoever has the key."""
    token = (await broker.exchange()).json()["access_token"]
    claims = unverified_claims(token)
    proof, public = tmp_path / "row.tlog-proof", tmp_path / "audit.pub"
    config = ("--config", broker.process.config)
    sealed = await audit("seal", *config)
    printed = await audit("public-key", *config)
    public.write_text(printed.stdout)
    made = await audit("prove", claims["jti"], "--with-record", "--out", proof, *config)
    checked = await audit("check-proof", proof, "--public-key", public, "--format", "json")
    proven = json.loads(checked.stdout)
    record = json.loads(proven["record"])

    assert 0 == sealed.exit_code, sealed.output
    assert 0 == made.exit_code, made.output
    assert (0, True) == (checked.exit_code, proven["proven"])
    assert (claims["jti"], "issued", claims["txn"]) == (
        record["jti"],
        record["outcome"],
        record["txn"],
    )
    assert proven["log"].endswith("/audit")
