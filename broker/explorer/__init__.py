"""The audit trail as web pages, for whoever asks about it and does not live in a terminal."""
