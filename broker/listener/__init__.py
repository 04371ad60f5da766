"""Listeners: uvicorn, bounded in bytes, fields, time and connections."""

from broker.listener.bounds import Bounds
from broker.listener.server import Listener

__all__ = ["Bounds", "Listener"]
