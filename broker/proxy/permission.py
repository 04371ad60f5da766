"""Whether a combination of upstream, client, scopes and the rest may be had here at all.

The configuration names clients and parameters, and no policy can add any; the policy says of each
combination whether it is allowed. It is asked before anything is looked up or fetched, so what was
fetched while it was allowed is served no longer when it is not.
"""

from typing import Final

from broker.domain import Attempt, Evaluation, ProxyQuestion
from broker.errors import ProxyRejected, Reason
from broker.policy.decision import DecisionMalformed
from broker.policy.engine import PolicyEngine, PolicyUnavailable
from broker.policy.proxy import build_proxy_input, read_proxy_decision
from broker.settings import Upstream

REMEMBERED: Final = 8192  # combinations; when there are more, all are asked about anew


class Permissions:
    """What one policy allows. With another policy in force there is another one of these."""

    def __init__(self, engine: PolicyEngine, *, remember: bool) -> None:
        """``remember``: the policy cannot change under ``engine``, as that of a server can."""
        self.engine = engine
        self._remember = remember
        self._allowed: dict[bytes, Evaluation] = {}

    async def require(
        self, attempt: Attempt, key: bytes, question: ProxyQuestion, upstream: Upstream
    ) -> None:
        """Return if the combination is allowed; ``key`` stands for it, and for nothing else.

        Raises ``ProxyRejected``: ``proxy.…``, ``policy.unavailable``, ``policy.undefined`` or
        ``policy.malformed``.
        """
        known = self._allowed.get(key)
        # Another policy may have been put in force under the same engine.
        if known is not None and known.revision == self.engine.revision:
            attempt.evaluation = known
            return
        name = question.unverified_client_id
        if name not in upstream.clients and "*" not in upstream.clients:
            raise ProxyRejected(Reason.PROXY_CLIENT_NOT_ALLOWED)
        try:
            evaluation = await self.engine.evaluate(build_proxy_input(question, upstream))
        except PolicyUnavailable as error:
            raise ProxyRejected(Reason.POLICY_UNAVAILABLE) from error
        attempt.evaluation = evaluation
        if evaluation.output is None:
            raise ProxyRejected(Reason.POLICY_UNDEFINED)
        try:
            reasons = read_proxy_decision(evaluation.output)
        except DecisionMalformed as error:
            raise ProxyRejected(Reason.POLICY_MALFORMED) from error
        if reasons:
            raise ProxyRejected(reasons[0])
        if self._remember:
            if len(self._allowed) >= REMEMBERED:
                self._allowed.clear()
            self._allowed[key] = evaluation
