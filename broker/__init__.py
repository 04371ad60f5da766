"""An RFC 8693 token-exchange authorization broker."""
