"""Small stand-ins at our own protocols, for tests that are about something else."""

from broker.blocklist.rule import Rule
from broker.blocklist.snapshot import BlocklistStale, Snapshot


class Revoked:
    """The revocations of one process, as the feed would keep them; ``stale`` cuts it off."""

    def __init__(self, *rules: Rule) -> None:
        self.snapshot = Snapshot.build(rules)
        self.stale = False

    @property
    def current(self) -> Snapshot:
        """What is revoked."""
        if self.stale:
            raise BlocklistStale("cut off")
        return self.snapshot
