"""``broker audit``: who got what on whose behalf, and whether the record of it is unchanged."""

import typer

from broker.cli.audit.query import QUERY_HELP, query
from broker.cli.audit.verify import VERIFY_HELP, verify

app = typer.Typer(
    help="Ask who got what on whose behalf, and prove that it is unchanged.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
# In the order in which ``--help`` lists them. Each module explains its own command.
app.command("query", epilog=QUERY_HELP)(query)
app.command("verify", epilog=VERIFY_HELP)(verify)
