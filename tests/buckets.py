"""What an S3-compatible store answers, as far as checkpoints need it. It is no such store.

It has the client's half of the contract: requests are recorded whole, so that a test sees what a
real store would be asked. What a real one makes of them is not shown here.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>no</Message></Error>'


@dataclass
class Bucket:
    """Objects by key, and every request for them."""

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    failing: str | None = None  # an error code, for every request
    mode: str = "COMPLIANCE"  # of the lock that it puts on what it gets
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def puts(self) -> list[dict[str, str]]:
        """The headers of each PUT, in lower case."""
        return [headers for method, _, headers in self.requests if method == "PUT"]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple:
        """Status and body."""
        self.requests.append((method, path, headers))
        if self.failing is not None:
            return 403, ERROR.format(self.failing).encode()
        parts = urlsplit(path)
        key = unquote(parts.path).removeprefix("/checkpoints-bucket").lstrip("/")
        if method == "GET" and not key:
            return 200, self._list(parse_qs(parts.query))
        known = key in self.objects
        if method == "GET" and parts.query == "retention":
            lock = f"<Mode>{self.mode}</Mode>" if known else ""
            return 200, f'<?xml version="1.0"?><Retention>{lock}</Retention>'.encode()
        if method == "GET":
            return (200, self.objects[key]) if known else (404, ERROR.format("NoSuchKey").encode())
        if known and headers.get("if-none-match") == "*":
            return 412, ERROR.format("PreconditionFailed").encode()
        self.objects[key] = body
        return 200, b""

    def _list(self, query: dict[str, list[str]]) -> bytes:
        prefix, after = query["prefix"][0], query["start-after"][0]
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after]
        contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
        return f'<?xml version="1.0"?><ListBucketResult>{contents}</ListBucketResult>'.encode()


@contextmanager
def bucket_server() -> Iterator[Bucket]:
    """A bucket ``checkpoints-bucket`` on loopback, for as long as the block lasts."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which answers ``Expect: 100-continue``

        def _serve(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            status, answer = bucket.answer(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = _serve  # noqa: N815 — as the library calls them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bucket.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sizes_of(bucket: Bucket) -> list[int]:
    """The sizes that the names of the objects say, in the order of the names."""
    return [int(re.sub(r"^.*/", "", key)) for key in sorted(bucket.objects)]
