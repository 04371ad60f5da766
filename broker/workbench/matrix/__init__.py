"""Who may obtain what: a policy asked for every client, target and issuer, not its data read.

What a policy would grant is found by asking it, as a broker would. So own rules, defaults and the
floor are in the answer, and a row of the grants that nobody can use is not.
"""
