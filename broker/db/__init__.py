"""PostgreSQL: how it is reached, what is in it, and the one that is brought along."""
