"""Step 5, mint: what was permitted becomes a signed token."""
