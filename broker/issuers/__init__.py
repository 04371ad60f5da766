"""Whose tokens are believed, and where their keys come from: bounded, guarded and cached."""
