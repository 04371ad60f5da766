"""Looks through the trail as it grows for what somebody should know: rules, and their alerts."""
