"""The trail, or a part of it, in formats of others and in one that verifies on its own."""
