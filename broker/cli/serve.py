"""``broker serve``: the broker in production, until it is told to stop."""

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from uvloop import new_event_loop

from broker.app import Broker
from broker.app.place import ALONE, Place
from broker.cli.backing import Backing, open_backing
from broker.cli.options import Config
from broker.cli.workers import (
    MOST_WORKERS,
    Post,
    Supervisor,
    listen_for_end,
    say_ready,
)
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
    " under way and stops. With `--workers`, SIGUSR1 puts new processes into the places of the old"
    " ones, one after the other, and no request fails for it.\n\n"
    "Exit codes: **0** stopped as told, **1** a part of it has failed, **2** the configuration is"
    " unusable.\n\nExample: `broker serve --config /etc/broker/broker.yaml --workers 4`"
)
def serve(
    config: Config = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Processes on the same ports, best one for each core; one that ends is replaced.",
            envvar="BROKER_WORKERS",
        ),
    ] = 1,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Run the broker with a configuration: production.

    It serves at once and is ready when keys, policy, database and issuers are there: ask
    `/health/ready` on the admin listener. Logs are JSON lines on standard error.
    """
    post = Post.read() if worker else None
    settings = load_settings(config)
    configure_logs(settings.telemetry.log_level, worker=None if post is None else post.number)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if post is not None:
            raise typer.Exit(runner.run(_serve(config, settings, post.backing(), post.place())))
        with open_backing(settings) as backing:
            serving = (
                _serve(config, settings, backing, ALONE)
                if workers == 1
                else _supervise(config, settings, backing, workers)
            )
            raise typer.Exit(runner.run(serving))


async def _supervise(
    config: Path | None, settings: Settings, backing: Backing, workers: int
) -> int:
    named = [] if config is None else ["--config", str(config)]
    command = [sys.executable, "-m", "broker.cli", "serve", "--worker", *named]
    try:
        supervisor = Supervisor(workers, command=command, settings=settings, backing=backing)
    except OSError as error:
        raise _taken(error) from error
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    loop.add_signal_handler(signal.SIGUSR1, supervisor.replace)
    return await supervisor.run()


async def _serve(config: Path | None, settings: Settings, backing: Backing, place: Place) -> int:
    telemetry = configure(
        otlp_endpoint=settings.telemetry.otlp_endpoint, trace_ratio=settings.telemetry.trace_ratio
    )
    broker = Broker(
        settings,
        telemetry=telemetry,
        database_url=backing.app_url,
        kek_file=backing.kek_file,
        place=place,
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
        raise _taken(error) from error
    except BaseException:
        await broker.stop()
        raise
    _settle_memory()
    helping = {asyncio.create_task(_reload(broker, config, hung_up))}
    if place is not ALONE:
        listen_for_end(told)
        helping.add(asyncio.create_task(_say_when_ready(broker)))
    stopping = {asyncio.create_task(event.wait()) for event in (told, broker.failed)}
    await asyncio.wait(stopping, return_when=asyncio.FIRST_COMPLETED)
    for task in (*helping, *stopping):
        task.cancel()
    await broker.stop()
    return FAILED if broker.failed.is_set() else 0


async def _say_when_ready(broker: Broker) -> None:
    while not broker.readiness().ready:  # noqa: ASYNC110 — asked and not told, as by the broker
        await asyncio.sleep(0.02)
    say_ready()


def _taken(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"listen, admin: the address cannot be used ({error.strerror}); free the port,"
        " or write another one"
    )


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
