"""The end of the show: the trail that was just written is sealed and verified."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from broker.app.sealing import Sealing
from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.query import CannotRead
from broker.audit.seal_health import SealRefused
from broker.audit.seal_store import HeadLost, SealUnavailable
from broker.audit.verify import Question, Report, load_outside, verify_trail
from broker.db.engine import Database
from broker.demo.stage import Stage
from broker.issuers.fetch import build_tls
from broker.settings import find_key_files


async def tell_the_trail(console: Console, stage: Stage) -> list[str]:
    """Verify all of the trail by the key of its log; returns what was not as it should be."""
    try:
        report = await _verify(stage)
    except (CannotRead, HeadLost, SealRefused, SealUnavailable) as error:
        return [f"the audit trail cannot be verified: {error}"]
    if not report.intact:
        return [f"the audit trail: {problem.fault.value}" for problem in report.problems]
    text = (
        f"  ✓ The trail is intact: {report.rows:,} rows under {report.checkpoints:,} checkpoints."
    )
    console.print(Text(text, "good"))
    return []


async def _verify(stage: Stage) -> Report:
    settings = stage.settings
    app, auditor = Database(stage.postgres.app_url), Database(stage.postgres.auditor_url)
    sealing = Sealing(settings, app, build_tls())
    try:
        # What a broker does every few seconds, for whoever does not want to wait.
        await sealing.once()
        path = find_key_files(settings).checkpoints
        keys = load_checkpoint_keys(path, build_origin(settings.issuer)).public if path else ()
        outside = load_outside(checkpoints_of(stage), keys)
        return await verify_trail(auditor, Question(keys, outside))
    finally:
        await sealing.aclose()
        await app.aclose()
        await auditor.aclose()


def checkpoints_of(stage: Stage) -> Path:
    """Return the file that the demo keeps its checkpoints in."""
    return stage.settings.audit.checkpoints.file or stage.folder
