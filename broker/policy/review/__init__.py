"""What a reader of a policy's data would object to, and where: nothing here is asked of Rego.

The decision is the policy's. What is said here follows from the data and the configuration alone,
and is true whatever own rules add, for these can only refuse: a grant that is unreachable by this
stays so.
"""
