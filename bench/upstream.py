"""A counting identity provider: each POST is a client-credentials token, each GET the count."""

import asyncio
import json
import sys

PORT = 18999
LIFE = 3600  # seconds


class Provider(asyncio.Protocol):
    """One connection. All requests of a segment are whole: they come from this machine."""

    issued = 0
    _buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            lower = head.lower()
            length = 0
            if b"content-length:" in lower:
                start = lower.index(b"content-length:") + len(b"content-length:")
                length = int(lower[start:].split(b"\r\n", 1)[0])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            Provider.issued += 1
            members = {
                "access_token": f"{Provider.issued:012d}" + "x" * 800,  # a JWT's usual size
                "token_type": "Bearer",
                "expires_in": LIFE,
            }
        else:
            members = {"issued": Provider.issued}
        body = json.dumps(members).encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else PORT))
