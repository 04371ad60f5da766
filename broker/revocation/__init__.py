"""Revocation: a client says that it needs a token of its no longer."""
