"""What the token proxy has saved, from its metrics: exact, also in money."""

import asyncio
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from broker.cli import build_app
from broker.cli.proxy_stats import read_stats
from tests.loopback import http_answer, loopback
from tests.unit.cli.rendering import words

METRICS = """\
# HELP process_start_time_seconds .
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000.0
# HELP broker_proxy_answers_total .
# TYPE broker_proxy_answers_total counter
broker_proxy_answers_total{outcome="fetched",upstream="idp"} 480.0
broker_proxy_answers_total{outcome="shared",upstream="idp"} 20.0
broker_proxy_answers_total{outcome="hit",upstream="idp"} 59500.0
broker_proxy_answers_total{outcome="proxy.denied",upstream="idp"} 3.0
broker_proxy_answers_total{outcome="hit",upstream="other"} 10.0
# HELP broker_proxy_upstream_calls_total .
# TYPE broker_proxy_upstream_calls_total counter
broker_proxy_upstream_calls_total{outcome="token",upstream="idp"} 480.0
broker_proxy_upstream_calls_total{outcome="refused",upstream="idp"} 7.0
broker_proxy_upstream_calls_total{outcome="token",upstream="other"} 1.0
"""
DAY = 86_400


def test_each_upstream_has_its_own_figures_and_all_have_a_total():
    """Renewals are calls; what was refused saves nothing."""
    stats = read_stats(METRICS, now=1000 + DAY, price=Decimal("0.002"))
    idp = stats.upstreams["idp"]

    assert (60_000, 59_520, 487, 480, 3) == (idp.served, idp.hits, idp.calls, idp.given, idp.others)
    assert (59_520, 99.2) == (idp.saved, round(idp.share, 1))
    assert (60_010, 488) == (stats.total.served, stats.total.calls)
    assert (Decimal("119.06"), 14_430) == (stats.cost(stats.total.saved), stats.monthly(481))


@pytest.mark.parametrize(
    "price",
    [pytest.param(None, id="none"), pytest.param(Decimal(0), id="nothing")],
)
def test_without_a_price_there_is_no_sum(price):
    """Nothing is made up."""
    stats = read_stats(METRICS, now=1000 + DAY, price=price)

    assert (None if price is None else Decimal("0.00")) == stats.cost(100)
    assert (None if price is None else "0.00") == stats.describe()["saved"]


def test_a_month_is_not_told_from_a_minute():
    """And a clock that was set back makes no figure negative."""
    assert None is read_stats(METRICS, now=1060).monthly(1)
    assert 0.0 == read_stats(METRICS, now=0).seconds


def test_a_process_without_traffic_has_no_figures():
    """A division by nothing among them."""
    assert (0, 0.0) == (read_stats("", now=1).total.served, read_stats("", now=1).total.share)


async def run(*arguments: str):
    """The command, apart from the loop that answers it."""
    return await asyncio.to_thread(CliRunner().invoke, build_app({"proxy"}), ["proxy", *arguments])


async def test_it_is_said_in_words_and_as_json():
    """For people and for programs."""
    answer = http_answer(METRICS.encode(), content_type="text/plain")
    async with loopback({"/metrics": answer}) as server:
        shown = await run("stats", "--url", server.url(""), "--price", "0.002")
        printed = await run("stats", "--url", server.url("/"), "--format", "json")

    assert (0, 0) == (shown.exit_code, printed.exit_code)
    assert "59,529 of 60,010 tokens did not have to be fetched" in words(shown.stdout)
    assert "At 0.002 each, that saved 119.06." in words(shown.stdout)
    assert '"upstream_calls": 488' in printed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["--price", "cheap"], 2, "write what one token costs", id="a-word"),
        pytest.param(["--price", "-1"], 2, "write what one token costs", id="negative"),
        pytest.param(["--price", "NaN"], 2, "write what one token costs", id="nan"),
        pytest.param(["--url", "http://127.0.0.1:1"], 2, "is it started?", id="nobody-there"),
        pytest.param(["--url", "nonsense"], 2, "is it started?", id="no-url"),
    ],
)
async def test_what_cannot_be_shown_is_said(arguments, code, said):
    """And what to do."""
    result = await run("stats", *arguments)

    assert code == result.exit_code
    assert said in words(result.output)
