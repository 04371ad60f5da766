"""The demo identity provider as a process of its own, for ``docker-compose.yml``.

    python -m broker.demo --host 0.0.0.0 --port 8443 --issuer https://idp:8443 --tls-dir /tls

With ``--tls-dir`` it speaks TLS with a certificate that it makes for the issuer's host and writes
there as ``ca.pem``: what the broker's ``ca_file`` names.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from broker.demo.certificate import build_tls
from broker.demo.issuer import DemoIssuer


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m broker.demo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9400, help="TCP port to listen on")
    parser.add_argument("--issuer", help="its identifier; absent: its address")
    parser.add_argument("--tls-dir", type=Path, help="folder for its certificate, ca.pem")
    parser.add_argument("--jwks-file", type=Path, help="also write its public keys there")
    arguments = parser.parse_args()

    tls = None
    if arguments.tls_dir is not None:
        host = urlsplit(arguments.issuer or "").hostname or arguments.host
        tls = build_tls(host, arguments.tls_dir)
    issuer = DemoIssuer(arguments.host, arguments.port, issuer=arguments.issuer, tls=tls)
    if arguments.jwks_file is not None:
        issuer.write_jwks(arguments.jwks_file)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.stderr.write(f"demo identity provider: {issuer.issuer}\n")
    issuer.serve_forever()


if __name__ == "__main__":
    main()
