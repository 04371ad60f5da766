"""Scenarios: who asks for what, and what must come out, in words and beside the policy.

A file of them is read strictly, asked of the compiled policy with the floor after it, and what
comes out otherwise is said in words. ``docs/reference/scenarios.md`` has the format.
"""
