"""Why a policy decides as it does: which rule held, what was cut, which limit was the least.

Two evaluations of the same input are at the bottom: the one that would count, of the compiled
policy with the floor after it, and one by ``opa eval``, which alone can say which rules held. They
are compared, and an explanation says whether they were the same. What is told of the grants, the
tokens and the limits are facts of the input and the data; the outcome is always the policy's own.
"""
