"""What a newcomer is shown: an identity provider, three services, and a story told over HTTP.

Nothing of it runs in production; it is here so that `broker dev` works on a fresh machine, and so
that `docker-compose.yml` has somebody to trust.
"""
