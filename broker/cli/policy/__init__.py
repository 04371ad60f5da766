"""``broker policy``: the rules that decide, from the first edit to the day after."""

import typer

from broker.cli.policy.activate import ACTIVATE_HELP, ROLLBACK_HELP, activate, rollback
from broker.cli.policy.build import BUILD_HELP, build
from broker.cli.policy.check import CHECK_HELP, check
from broker.cli.policy.explain import EXPLAIN_HELP, explain
from broker.cli.policy.init import INIT_HELP, init
from broker.cli.policy.matrix import MATRIX_HELP, matrix
from broker.cli.policy.reach import REACH_HELP, reach
from broker.cli.policy.replay import REPLAY_HELP, replay
from broker.cli.policy.status import STATUS_HELP, status
from broker.cli.policy.test import TEST_HELP, run_tests
from broker.cli.policy.ui import UI_HELP, ui

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Build, test, check and roll out the policy.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order in which ``--help`` lists them. Each module explains its own command.
app.command("init", epilog=INIT_HELP)(init)
app.command("build", epilog=BUILD_HELP)(build)
app.command("test", epilog=TEST_HELP)(run_tests)
app.command("check", epilog=CHECK_HELP)(check)
app.command("explain", epilog=EXPLAIN_HELP)(explain)
app.command("matrix", epilog=MATRIX_HELP)(matrix)
app.command("reach", epilog=REACH_HELP)(reach)
app.command("replay", epilog=REPLAY_HELP)(replay)
app.command("ui", epilog=UI_HELP)(ui)
app.command("activate", epilog=ACTIVATE_HELP)(activate)
app.command("rollback", epilog=ROLLBACK_HELP)(rollback)
app.command("status", epilog=STATUS_HELP)(status)
