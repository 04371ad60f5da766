"""``broker serve``: the broker in production, until it is told to stop."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import Final

import typer
from uvloop import new_event_loop

from broker.app import Broker
from broker.cli.backing import Backing, open_backing
from broker.cli.options import Config
from broker.errors import CommitRejected, ConfigurationError
from broker.settings import Settings, load_settings
from broker.telemetry.export import configure
from broker.telemetry.logs import configure_logs

FAILED: Final = 1
_YOUNG: Final = 20_000  # objects

_log = logging.getLogger(__name__)

app = typer.Typer(rich_markup_mode="markdown")


@app.command(
    epilog="SIGHUP reloads configuration and policy, whole or not at all; SIGTERM finishes what is"
    " under way and stops.\n\n"
    "Exit codes: **0** stopped as told, **1** a part of it has failed, **2** the configuration is"
    " unusable.\n\nExample: `broker serve --config /etc/broker/broker.yaml`"
)
def serve(
    config: Config = None,
) -> None:
    """Run the broker with a configuration: production.

    It serves at once and is ready when keys, policy, database and issuers are there: ask
    `/health/ready` on the admin listener. Logs are JSON lines on standard error.
    """
    settings = load_settings(config)
    configure_logs(settings.telemetry.log_level)
    with open_backing(settings) as backing, asyncio.Runner(loop_factory=new_event_loop) as runner:
        raise typer.Exit(runner.run(_serve(config, settings, backing)))


async def _serve(config: Path | None, settings: Settings, backing: Backing) -> int:
    telemetry = configure(
        otlp_endpoint=settings.telemetry.otlp_endpoint, trace_ratio=settings.telemetry.trace_ratio
    )
    broker = Broker(
        settings,
        telemetry=telemetry,
        database_url=backing.app_url,
        kek_file=backing.kek_file,
    )
    told = asyncio.Event()
    hung_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    try:
        await broker.start()
    except OSError as error:
        await broker.stop()
        raise ConfigurationError(
            f"listen, admin: the address cannot be used ({error.strerror}); free the port,"
            " or write another one"
        ) from error
    except BaseException:
        await broker.stop()
        raise
    _settle_memory()
    reloading = asyncio.create_task(_reload(broker, config, hung_up))
    stopping = {asyncio.create_task(event.wait()) for event in (told, broker.failed)}
    await asyncio.wait(stopping, return_when=asyncio.FIRST_COMPLETED)
    for task in (reloading, *stopping):
        task.cancel()
    await broker.stop()
    return FAILED if broker.failed.is_set() else 0


async def _reload(broker: Broker, config: Path | None, hung_up: asyncio.Event) -> None:
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            await broker.reload(await asyncio.to_thread(load_settings, config))
            _settle_memory()
        except (ConfigurationError, CommitRejected) as error:
            # The texts of both name keys of ours and never a value.
            problems = str(error).splitlines()
            _log.error("the configuration stays as it was", extra={"problems": problems})


def _settle_memory() -> None:
    """Keep the garbage collector off what stays: code, configuration and policy.

    Otherwise each full collection walks all of it, and every request of that moment waits for
    tens of milliseconds.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    # A request makes hundreds of objects, and nearly all are gone when it ends: looking through
    # the young ones once for each request finds nothing.
    gc.set_threshold(_YOUNG)
