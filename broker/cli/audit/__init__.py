"""``broker audit``: who got what on whose behalf, and whether the record of it is unchanged."""

import typer

from broker.cli.audit.alerts import ALERTS_HELP, alerts
from broker.cli.audit.check_proof import CHECK_PROOF_HELP, check_proof_file
from broker.cli.audit.detect import DETECT_HELP, detect
from broker.cli.audit.erase import ERASE_HELP, erase_person
from broker.cli.audit.export import EXPORT_HELP, export
from broker.cli.audit.filters import FILTERS_HELP, filters
from broker.cli.audit.key import PUBLIC_KEY_HELP, public_key
from broker.cli.audit.prove import PROVE_HELP, prove
from broker.cli.audit.query import QUERY_HELP, query
from broker.cli.audit.retain import RETAIN_HELP, retain
from broker.cli.audit.seal import SEAL_HELP, seal
from broker.cli.audit.show import SHOW_HELP, show
from broker.cli.audit.stream import STREAM_HELP, stream
from broker.cli.audit.ui import UI_HELP, ui
from broker.cli.audit.verify import VERIFY_HELP, verify

app = typer.Typer(
    help="Ask who got what on whose behalf, and prove that it is unchanged.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
# In the order in which ``--help`` lists them. Each module explains its own command.
app.command("query", epilog=QUERY_HELP)(query)
app.command("filters", epilog=FILTERS_HELP)(filters)
app.command("show", epilog=SHOW_HELP)(show)
app.command("ui", epilog=UI_HELP)(ui)
app.command("verify", epilog=VERIFY_HELP)(verify)
app.command("prove", epilog=PROVE_HELP)(prove)
app.command("check-proof", epilog=CHECK_PROOF_HELP)(check_proof_file)
app.command("export", epilog=EXPORT_HELP)(export)
app.command("stream", epilog=STREAM_HELP)(stream)
app.command("alerts", epilog=ALERTS_HELP)(alerts)
app.command("detect", epilog=DETECT_HELP)(detect)
app.command("retain", epilog=RETAIN_HELP)(retain)
app.command("erase", epilog=ERASE_HELP)(erase_person)
app.command("seal", epilog=SEAL_HELP)(seal)
app.command("public-key", epilog=PUBLIC_KEY_HELP)(public_key)
