"""The token proxy: one client-credentials token for all who would fetch the same one.

What holds of every answer:

(1) it was asked for with exactly the credentials and parameters of the request, or under a key
    that only those give: who sends a wrong secret is told so by the upstream;
(2) the policy allows the combination, and the configuration the client and each parameter;
(3) the token has life left, and ``expires_in`` says how much, whatever the clocks did;
(4) the upstream call that it came by has its row in the audit trail: no row, no token.

A client secret is held as long as the request that brought it, or the upstream call that is made
with it, and is in no cache, log, span, metric, exception or ``repr``.
"""
