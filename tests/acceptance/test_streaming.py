"""A running broker streams its trail, and no token waits for whoever receives it."""

import json

from tests.faults import Proxy, standing, to_port
from tests.fixtures.postgres import execute
from tests.loopback import certificate
from tests.server import BrokerProcess, eventually, talk_to, write_configuration
from tests.streaming import first_times, lines_of, syslog_receiver

EVERY = {"key_file": "checkpoint.key", "every": "100ms"}


def configured(folder, url, *streams):
    return write_configuration(folder, url, audit={"checkpoints": EVERY, "streams": list(streams)})


async def test_a_running_broker_streams_its_trail(clean, tmp_path):
    """Issue: by configuration; each row arrives, that it does is on record, and lag is a metric."""
    out = tmp_path / "out.jsonl"
    to = {"name": "kept", "to": f"file:{out}", "start": "now"}
    process = BrokerProcess(configured(tmp_path, clean.app_url, to))
    try:
        process.wait_ready()
        async with talk_to(process, clean.auditor_url) as broker:
            assert 200 == (await broker.exchange()).status_code
            (row,) = await broker.rows()

            async def arrived():
                return out.exists() and str(row["id"]) in out.read_text()

            await eventually(arrived)

            async def recorded():
                return [
                    one
                    for one in await broker.rows("administration")
                    if one["action"] == "audit.stream"
                ]

            await eventually(recorded)
            metrics = (await broker.admin("/metrics")).text
    finally:
        assert 0 == process.stop()

    ids = [json.loads(line)["id"] for line in lines_of(out)]
    assert first_times(ids) == ids
    assert 'broker_audit_stream_lag_seconds{stream="kept"}' in metrics
    assert 'broker_audit_stream_rows_total{stream="kept"}' in metrics


async def test_exchanges_are_answered_while_a_stream_is_stuck(clean, tmp_path):
    """Issue: back-pressure never touches the token path; what waited arrives in the end."""
    tls, anchor = certificate(tmp_path, "127.0.0.1")
    async with syslog_receiver(tls) as receiver, standing(Proxy(to_port(receiver.port))) as network:
        network.black_hole()
        to = {"name": "stuck", "to": f"syslog+tls://127.0.0.1:{network.port}", "start": "now"}
        process = BrokerProcess(configured(tmp_path, clean.app_url, to | {"ca_file": str(anchor)}))
        try:
            process.wait_ready()
            async with talk_to(process, clean.auditor_url) as broker:

                async def under_way():
                    return network.connections

                await eventually(under_way)
                before = place(clean)
                answers = [await broker.exchange() for _ in range(20)]
                assert [200] * 20 == [one.status_code for one in answers]
                assert 200 == (await broker.admin("/health/ready")).status_code
                expected = [str(row["id"]) for row in await broker.rows()]
                assert ([], before) == (receiver.messages, place(clean))
                network.forward()
                network.cut()

                async def arrived():
                    return set(expected) <= set(receiver.ids)

                await eventually(arrived)
        finally:
            assert 0 == process.stop()

    assert expected == [one for one in first_times(receiver.ids) if one in expected]


def place(made):
    """How far the stuck stream has come."""
    return execute(made.app_url, "SELECT * FROM audit_cursor WHERE name = 'stream:stuck'")


async def test_of_several_processes_one_streams(clean, tmp_path):
    """Issue: one lead for each stream, and when it is killed another one goes on."""
    out = tmp_path / "out.jsonl"
    to = {"name": "led", "to": f"file:{out}", "start": "now"}
    processes = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        processes.append(BrokerProcess(configured(folder, clean.app_url, to)))
    try:
        for process in processes:
            process.wait_ready()

        async def streaming():
            return [
                one
                for one in processes
                if any(line["message"] == "the audit trail is streamed" for line in one.logged())
            ]

        await eventually(streaming)
        (leading,) = await streaming()
        (waiting,) = [one for one in processes if one is not leading]
        leading.kill()
        async with talk_to(waiting, clean.auditor_url) as broker:
            assert 200 == (await broker.exchange()).status_code
            (row,) = await broker.rows()

            async def arrived():
                return out.exists() and str(row["id"]) in out.read_text()

            await eventually(arrived)
    finally:
        for process in processes:
            if process.process.poll() is None:
                process.stop()

    assert [waiting] == [one for one in await streaming() if one is not leading]
