"""``python -m broker.cli`` is ``broker``."""

from broker.cli import main

main()
