"""Listeners: uvicorn, bounded in bytes, fields, time and connections."""

from broker.listener.bounds import Bounds
from broker.listener.server import Application, Listener, bind

__all__ = ["Application", "Bounds", "Listener", "bind"]
