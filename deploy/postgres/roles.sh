#!/bin/sh
# Runs once, when the database is made: three roles, so that whoever takes over the broker cannot
# change what was recorded. The passwords come from the same files that the services mount.
set -eu

password() {
    cut -d: -f5 "/run/secrets/$1"
}

psql --no-psqlrc --set ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set owner="$(password pgpass_owner)" \
    --set app="$(password pgpass_app)" \
    --set auditor="$(password pgpass_auditor)" <<'SQL'
CREATE ROLE broker_owner LOGIN PASSWORD :'owner'; -- migrates, owns the tables, runs nothing
CREATE ROLE broker_app LOGIN PASSWORD :'app'; -- the broker: reads and adds rows
CREATE ROLE broker_auditor LOGIN PASSWORD :'auditor'; -- reads the audit trail
ALTER DATABASE broker OWNER TO broker_owner;
REVOKE ALL ON DATABASE broker FROM PUBLIC;
GRANT CONNECT ON DATABASE broker TO broker_app, broker_auditor;
ALTER SCHEMA public OWNER TO broker_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
