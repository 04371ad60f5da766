"""Introspection: what a resource server is told about a token that was issued for it."""
