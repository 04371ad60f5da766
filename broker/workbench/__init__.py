"""What a policy would do: asked, explained and compared without a token and without a server.

Nothing here signs. A supposed exchange is made of the same values as a real one and judged by the
same code, and no module of this package may import what mints: the import contracts say so.
"""
