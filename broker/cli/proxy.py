"""``broker proxy``: what the token proxy does, and what that saves."""

import time
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import httpx
import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.options import Config, Format, Output
from broker.cli.proxy_stats import Stats, Traffic, read_stats
from broker.settings import load_settings

COULD_NOT_LOOK: Final = 2
_TIMEOUT: Final = 5.0  # seconds
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — an address to ask, not to bind

app = typer.Typer(
    help="See what the token proxy saves.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.callback()
def _group() -> None:
    """One command more would not change how this one is called."""


def _parse_price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter("write what one token costs, like 0.002") from None
    if not price.is_finite() or price < 0:
        raise typer.BadParameter("write what one token costs, like 0.002")
    return price


@app.command(
    epilog="Exit codes: **0** shown, **2** the process does not answer.\n\n"
    "Example: `broker proxy stats --price 0.002 --config broker.yaml`"
)
def stats(
    price: Annotated[
        Decimal | None,
        typer.Option(
            help="What one token costs at the identity provider, in your currency, like `0.002`.",
            parser=_parse_price,
            metavar="<number>",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="The admin listener of the process; absent: that of the configuration.",
            show_default=False,
        ),
    ] = None,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Show hits, upstream calls and what was saved since a broker was started.

    It reads the metrics at the admin listener: of one broker, with all of its workers. Where there
    are several brokers, each has its own memory and its own figures: ask each.
    """
    where = _admin_url(config) if url is None else url.rstrip("/")
    try:
        answer = httpx.get(f"{where}/metrics", timeout=_TIMEOUT, trust_env=False)
        answer.raise_for_status()
        found = read_stats(answer.text, now=time.time(), price=price)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        said = f"broker: {where} does not show its metrics ({type(error).__name__}); is it started?"
        typer.echo(said, err=True)
        raise typer.Exit(COULD_NOT_LOOK) from None
    if output is Format.JSON:
        print(orjson.dumps(found.describe(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found, build_console())


def _admin_url(config: Config) -> str:
    admin = load_settings(config).admin
    host = _ANY.get(admin.host, admin.host)
    return f"http://[{host}]:{admin.port}" if ":" in host else f"http://{host}:{admin.port}"


def _print(found: Stats, console: Console) -> None:
    if not found.upstreams:
        text = "Nothing was asked of the token proxy yet: see docs/how-to/token-proxy.md."
        console.print(Text(text, "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("upstream", no_wrap=True)
    for name in ("tokens served", "hits", "upstream calls", "without a token", "saved"):
        table.add_column(name, justify="right")
    for name, traffic in found.upstreams.items():
        table.add_row(Text(name, "client"), *_cells(traffic))
    if len(found.upstreams) > 1:
        table.add_section()
        table.add_row("all", *_cells(found.total))
    console.print(table)
    console.print(Text(f"\n{_sentence(found)}"))


def _cells(traffic: Traffic) -> list[str]:
    counts = (traffic.served, traffic.hits, traffic.calls, traffic.others)
    return [*(f"{count:,}" for count in counts), f"{traffic.share:.1f} %"]


def _sentence(found: Stats) -> str:
    total = found.total
    said = f"{total.saved:,} of {total.served:,} tokens did not have to be fetched"
    said += f" in {found.seconds / 3600:,.1f} h."
    if found.price is not None:
        said += f" At {found.price} each, that saved {found.cost(total.saved):,}."
    with_it, without = found.monthly(total.given), found.monthly(total.served)
    if with_it is not None and without is not None:
        said += f" In thirty days like this: {with_it:,} tokens instead of {without:,}"
        if found.price is not None:
            said += f", {found.cost(with_it):,} instead of {found.cost(without):,}"
        said += "."
    return said
