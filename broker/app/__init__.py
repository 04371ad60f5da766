"""The composition root: settings become services, services become a running broker."""

from broker.app.broker import Broker

__all__ = ["Broker"]
