"""Step 1, authenticate: which client this is. RFC 6749 §2.3, RFC 7523 §2.2."""
