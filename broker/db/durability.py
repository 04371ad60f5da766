"""Whether a connection's COMMIT means what the audit trail promises: on disk, on the primary."""

from collections.abc import Mapping


class NotDurable(Exception):  # noqa: N818 — a state of the server, told to the operator
    """A commit on this connection could be lost; ``str()`` names the setting to mend."""


DURABILITY_QUERY = """
SELECT current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       pg_is_in_recovery() AS in_recovery
"""


def assert_durable(settings: Mapping[str, object]) -> None:
    """Return if a commit survives a crash of the server, and a failover where one is set up.

    ``settings`` is the row of ``DURABILITY_QUERY``. Raises ``NotDurable``.
    """
    for name in ("fsync", "full_page_writes"):
        if settings[name] != "on":
            raise NotDurable(f"PostgreSQL runs with {name}={settings[name]}; the broker needs on")
    # ``local`` is on disk here and nowhere else, so a failover to the standby would lose it.
    weak = {"off", "local"} if settings["synchronous_standby_names"] else {"off"}
    if settings["synchronous_commit"] in weak:
        raise NotDurable(
            f"this role or database has synchronous_commit={settings['synchronous_commit']}; "
            "the broker needs on"
        )
    if settings["in_recovery"]:
        raise NotDurable("this PostgreSQL is a standby; the broker needs the primary")
