"""How often anyone may try."""
