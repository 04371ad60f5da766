"""Attack: send the form as multipart, whose parsers have filled memory and blocked servers."""

from importlib.util import find_spec

import pytest

from tests.wire import assert_issued, assert_refused, basic, exchange_form

ADVISORIES = ("CVE-2024-47874", "CVE-2025-54121", "CVE-2023-30798", "CVE-2026-42561")


def _multipart(fields: list[tuple[str, str]], *, preamble: str = "") -> bytes:
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    )
    return f"{preamble}{parts}--x--\r\n".encode()


@pytest.mark.row(*ADVISORIES, "TX-2.1-02")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_multipart(exchange_form()), id="a-good-request"),
        pytest.param(_multipart([("field", "x")] * 1000), id="a-thousand-fields"),
        pytest.param(_multipart([("field", "x" * 60_000)]), id="a-large-field"),
        pytest.param(_multipart([], preamble="\r\n" * 30_000), id="line-breaks-before-it"),
        pytest.param(b"--x\r\n" + b"X: y\r\n" * 10_000, id="headers-without-end"),
    ],
)
async def test_multipart_is_refused_and_never_parsed(broker, body):
    """The media type alone refuses it: no parser is there that it could reach."""
    response = await broker.request(
        "POST",
        "/token",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=x"},
        auth=basic(),
    )

    assert "The body must be application/x-www-form-urlencoded." == assert_refused(
        response, "invalid_request"
    )
    assert_issued(await broker.exchange())
    assert ["request.media_type", "issued"] == await broker.audited()


@pytest.mark.row(*ADVISORIES)
def test_no_multipart_parser_is_installed():
    """Starlette would use it by itself if it were there."""
    assert [None, None] == [find_spec("multipart"), find_spec("python_multipart")]
