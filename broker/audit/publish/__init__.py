"""Where checkpoints go: out of the database, to where its owner cannot change them unseen.

Each after its commit and never before; none of it is waited for by sealing, nor by an exchange.
"""
