"""The tables, as SQLAlchemy sees them.

The chain of migrations makes exactly these; a test compares. Ours are ``TEXT`` with ``CHECK`` for
closed sets, ``timestamptz``, and NOT NULL unless a comment says why not.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    FetchedValue,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, TIMESTAMP, UUID

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

_time = TIMESTAMP(timezone=True)

# One row an event. ``record`` is what was hashed; all but the first two columns and ``leaf`` are
# extracts of it, and nullable where an event need not have the thing.
audit_event = Table(
    "audit_event",
    metadata,
    Column("writer", UUID, nullable=False),
    Column("seq", BigInteger, nullable=False),  # from 1, gapless within its writer
    Column("at", _time, nullable=False),
    Column("id", UUID, nullable=False),  # of an issued token: its ``jti``
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("request_id", Text),
    Column("client", Text),
    Column("subject_issuer", Text),
    Column("subject", Text),
    Column("actor_issuers", ARRAY(Text), nullable=False),  # the chain, current actor first
    Column("actors", ARRAY(Text), nullable=False),
    Column("targets", ARRAY(Text), nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),  # granted
    Column("txn", Text),
    Column("parent", Text),  # ``jti`` of the token that was exchanged
    Column("kid", Text),
    Column("policy_revision", Text),
    Column("action", Text),
    Column("record", Text, nullable=False),  # canonical JSON
    Column("leaf", BYTEA, nullable=False),
    # ``at`` is in the key because PostgreSQL wants the partition key there.
    PrimaryKeyConstraint("writer", "seq", "at"),
    CheckConstraint(
        "kind IN ('exchange', 'introspection', 'revocation', 'refusals', 'administration',"
        " 'writer', 'alert', 'proxy', 'hits')",
        "kind",
    ),
    CheckConstraint("outcome IN ('issued', 'refused', 'done')", "outcome"),
    CheckConstraint("octet_length(leaf) = 32", "leaf"),
    Index(None, "id"),
    Index(None, "at", postgresql_using="brin"),
    # What questions go by. Each costs every row a write, so there are no more of them.
    Index("ix_audit_event_newest", text("at DESC"), "writer", text("seq DESC")),
    Index(None, "subject", text("at DESC"), postgresql_where=text("subject IS NOT NULL")),
    Index(None, "client", text("at DESC"), postgresql_where=text("client IS NOT NULL")),
    Index(None, "txn", postgresql_where=text("txn IS NOT NULL")),
    Index(None, "parent", postgresql_where=text("parent IS NOT NULL")),
    Index("ix_audit_event_parties", "actors", "targets", postgresql_using="gin"),
    Index(
        "ix_audit_event_unissued",
        "outcome",
        text("at DESC"),
        postgresql_where=text("outcome <> 'issued'"),
    ),
    postgresql_partition_by="RANGE (at)",
)

# One row a group commit: which rows, their Merkle root, and the batch before.
audit_batch = Table(
    "audit_batch",
    metadata,
    Column("writer", UUID, nullable=False),
    Column("number", BigInteger, nullable=False),  # from 1, gapless within its writer
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("at", _time, nullable=False),
    Column("root", BYTEA, nullable=False),
    Column("previous", BYTEA, nullable=False),  # hash of the batch before; of the first: zeros
    Column("hash", BYTEA, nullable=False),
    # The transaction that committed it, so that a sealer finds what is new; null: of before.
    Column("tx", BigInteger, server_default=text("((pg_current_xact_id())::text)::bigint")),
    PrimaryKeyConstraint("writer", "number"),
    CheckConstraint("number >= 1 AND first_seq >= 1 AND last_seq >= first_seq", "range"),
    CheckConstraint(
        "octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32",
        "digests",
    ),
    Index(None, "tx"),
)

# The batches of all writers in one order: the leaves of an RFC 6962 tree. ``hashes[0]`` is the
# leaf, ``hashes[n]`` the root of the complete subtree of height n that ends with it.
audit_tree = Table(
    "audit_tree",
    metadata,
    Column("position", BigInteger, nullable=False, autoincrement=False),  # from 0, gapless
    Column("writer", UUID, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hashes", ARRAY(BYTEA), nullable=False),
    PrimaryKeyConstraint("position"),
    UniqueConstraint("writer", "number"),
    CheckConstraint("position >= 0", "position"),
    CheckConstraint("cardinality(hashes) >= 1", "hashes"),
)

# The heads of that tree, signed. ``previous`` is the size before: no two follow one.
audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("size", BigInteger, nullable=False, autoincrement=False),
    Column("previous", BigInteger, nullable=False),
    Column("root", BYTEA, nullable=False),
    Column("at", _time, nullable=False),
    Column("note", Text, nullable=False),  # a C2SP signed note
    Column("horizon", BigInteger, nullable=False),  # every batch of an older transaction is in it
    PrimaryKeyConstraint("size"),
    UniqueConstraint("previous"),
    CheckConstraint("previous >= 0 AND size > previous", "size"),
    CheckConstraint("octet_length(root) = 32", "root"),
)

# What witnesses elsewhere have signed of a checkpoint, as lines of its note.
audit_cosignature = Table(
    "audit_cosignature",
    metadata,
    Column("size", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("size", "name"),
    CheckConstraint("octet_length(line) <= 8192", "line"),
)

# How far whoever follows the trail has come.
audit_cursor = Table(
    "audit_cursor",
    metadata,
    Column("name", Text, nullable=False),
    Column("position", BigInteger, nullable=False),  # the next one
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("name"),
    CheckConstraint("position >= 0", "position"),
)

# What detection remembers at a place in the log; nobody relies on it.
audit_memory = Table(
    "audit_memory",
    metadata,
    Column("name", Text, nullable=False),
    Column("piece", BigInteger, nullable=False),  # all of one name are of one place
    Column("position", BigInteger, nullable=False),
    Column("format", BigInteger, nullable=False),
    Column("part", Text, nullable=False),
    Column("content", BYTEA, nullable=False),  # JSON
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("name", "piece"),
    CheckConstraint("position >= 0", "position"),
)

# What the personal part of records is encrypted under. To delete the keys of a person is to erase
# what identifies that person in every record.
audit_person_key = Table(
    "audit_person_key",
    metadata,
    Column("id", BYTEA, nullable=False),  # random
    Column("issuer", Text, nullable=False),
    Column("person", Text, nullable=False),  # the pseudonym
    Column("wrapped", BYTEA, nullable=False),  # under the audit key
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("octet_length(id) = 16", "id"),
    Index(None, "person"),
)

# What auditors did. A broker makes events of these, and deletes them here.
audit_access = Table(
    "audit_access",
    metadata,
    Column("id", UUID, nullable=False),
    Column("at", _time, server_default=text("now()"), nullable=False),
    Column("role", Text, server_default=text("SESSION_USER"), nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("id"),
    CheckConstraint("action ~ '^audit[.][a-z-]{1,32}$'", "action"),
    CheckConstraint("octet_length(by) <= 1024 AND octet_length(details) <= 16384", "size"),
)

# What may be used once and was: a ``jti`` of a client assertion or of a one-time token.
replay_claim = Table(
    "replay_claim",
    metadata,
    Column("key", BYTEA, nullable=False),  # SHA-256 of kind, issuer and jti
    Column("expires_at", _time, nullable=False),  # until then the token itself could be presented
    PrimaryKeyConstraint("key"),
    CheckConstraint("octet_length(key) = 32", "key"),
    Index(None, "expires_at"),
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, nullable=False),  # RFC 7638 thumbprint
    Column("algorithm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("public_jwk", JSONB, nullable=False),
    Column("wrapped_key", BYTEA, nullable=False),
    Column("wrapped_dek", BYTEA, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("activated_at", _time),  # null: not yet in that state; so are the next two
    Column("retiring_at", _time),
    Column("retired_at", _time),
    Column("provider", Text, nullable=False, server_default="postgresql"),  # who keeps it
    Column("reference", Text),  # null: the key is in this row, or it is gone
    PrimaryKeyConstraint("kid"),
    CheckConstraint("state IN ('prepared', 'active', 'retiring', 'retired')", "state"),
    CheckConstraint("provider IN ('postgresql', 'pkcs11')", "provider"),
    # At most one key signs per algorithm, whatever two leaders believe.
    Index(
        "uq_signing_key_active",
        "algorithm",
        unique=True,
        postgresql_where=text("state = 'active'"),
    ),
)

# The compare-and-set of key rotation: a leader that slept finds another generation and loses.
key_generation = Table(
    "key_generation",
    metadata,
    Column("algorithm", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    PrimaryKeyConstraint("algorithm"),
)

# What was revoked, and from when. A trigger gives ``seq``: from 1, gapless, in order of commits.
revocation = Table(
    "revocation",
    metadata,
    Column("seq", BigInteger, server_default=FetchedValue(), nullable=False, autoincrement=False),
    Column("scope", Text, nullable=False),
    Column("issuer", Text, nullable=False),  # empty where the scope has none; so is ``key``
    Column("key", Text, nullable=False),
    Column("not_before", _time),  # null: of the scopes that kill outright
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("seq"),
    CheckConstraint(
        "scope IN ('subject', 'actor', 'client', 'issuer', 'kid', 'txn', 'jti', 'all')", "scope"
    ),
    CheckConstraint(
        "(scope IN ('subject', 'actor', 'issuer', 'kid', 'jti')) = (issuer <> '')", "issuer"
    ),
    CheckConstraint("(scope IN ('issuer', 'all')) = (key = '')", "key"),
    CheckConstraint("(scope IN ('kid', 'txn', 'jti')) = (not_before IS NULL)", "not_before"),
    CheckConstraint(
        "octet_length(issuer) <= 2048 AND octet_length(key) <= 2048"
        " AND octet_length(reason) <= 1024 AND octet_length(by) <= 1024",
        "size",
    ),
)

# The policy bundles that are in force, are tried, or that there is a way back to.
policy_bundle = Table(
    "policy_bundle",
    metadata,
    Column("revision", Text, nullable=False),
    Column("archive", BYTEA, nullable=False),  # as it was built, with its signature
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("revision"),
    CheckConstraint("revision ~ '^[0-9a-f]{64}$'", "revision"),
    CheckConstraint("octet_length(archive) <= 33554432", "archive"),
)

# What became the policy, and what was tried beside it. A trigger gives ``seq``: from 1, gapless,
# in order of commits.
policy_activation = Table(
    "policy_activation",
    metadata,
    Column("seq", BigInteger, server_default=FetchedValue(), nullable=False, autoincrement=False),
    Column("action", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("revision", Text, nullable=False),  # empty: what ``policy.path`` says
    Column("percent", BigInteger, nullable=False),
    Column("clients", ARRAY(Text), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("seq"),
    CheckConstraint("action IN ('activate', 'rollback')", "action"),
    CheckConstraint("mode IN ('enforce', 'observe', 'canary')", "mode"),
    CheckConstraint(
        "revision ~ '^[0-9a-f]{64}$' OR (revision = '' AND action = 'rollback')", "revision"
    ),
    CheckConstraint("percent BETWEEN 0 AND 100", "percent"),
    CheckConstraint("cardinality(clients) <= 1000", "clients"),
    CheckConstraint("(mode = 'canary') = (percent > 0 OR cardinality(clients) > 0)", "canary"),
    CheckConstraint("octet_length(by) <= 1024 AND octet_length(reason) <= 1024", "size"),
)

# What each process decides by, as it last said.
policy_replica = Table(
    "policy_replica",
    metadata,
    Column("writer", UUID, nullable=False),
    Column("place", Text, nullable=False),  # host, process, worker
    Column("seq", BigInteger, nullable=False),  # of the activation that it follows
    Column("revision", Text, nullable=False),
    Column("candidate", Text, nullable=False),  # empty: none; so are the next two
    Column("mode", Text, nullable=False),
    Column("fault", Text, nullable=False),
    Column("at", _time, nullable=False),
    PrimaryKeyConstraint("writer"),
    CheckConstraint("octet_length(place) <= 1024 AND octet_length(fault) <= 4096", "size"),
)

# What an opaque token of ours stands for, until it expires.
reference_token = Table(
    "reference_token",
    metadata,
    Column("hash", BYTEA, nullable=False),  # SHA-256 of the token; itself it is nowhere
    Column("jti", UUID, nullable=False),
    Column("claims", Text, nullable=False),  # JSON, as a JWT would have them
    Column("kid", Text, nullable=False),  # the key that it counts as signed with
    Column("expires_at", _time, nullable=False),
    PrimaryKeyConstraint("hash"),
    CheckConstraint("octet_length(hash) = 32", "hash"),
    Index(None, "expires_at"),
)
