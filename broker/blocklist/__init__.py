"""What was revoked: the ledger that all processes share, and each one's snapshot of it."""
