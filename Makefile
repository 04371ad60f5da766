# Everything that a person or CI types. `make` alone lists it.
#
# Nothing is needed but Python 3.11 or newer, git and make. What is installed goes to .venv/ and
# .tools/, each step once: a stamp file says that it is done, and its inputs say when it is not.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first interpreter that is new enough; `make run PYTHON=/path/to/python` names another.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input

## Use
help: ## list what can be made
	@awk 'BEGIN { FS = ":.*## " } /^## / { printf "%s%s\n", gap, substr($$0, 4); gap = "\n" } \
		/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

run: .venv/run .tools/opa ## start everything, show exchanges, keep serving; ARGS=--once stops after the show
	@exec .venv/bin/broker dev $(ARGS)

## Develop
test: .venv/dev .tools/opa .tools/compose-spec.json .tools/oauth-clients/made .tools/softhsm/made .tools/redis/made .tools/object-store/made .tools/chromium ## every check of the project and the whole suite; ARGS go to pytest
	@exec scripts/check all $(ARGS)

lint: .venv/dev .tools/opa ## format, lint, types, direction of imports, generated pages
	@exec scripts/check lint

policy: .venv/dev .tools/opa ## opa fmt, check and test, with every line covered, and the scenarios
	@exec scripts/check policy

bench: .venv/dev .tools/opa ## measure everything on one core, 15 minutes, and print a table; ARGS='--seconds 3 --rounds 1' is quicker
	@exec .venv/bin/python -m bench.summary $(ARGS)

bench-peer: .venv/dev ## the same load on another RFC 8693 endpoint on loopback: URL=http://… ARGS=--help
	@exec .venv/bin/python -m bench.peer $(URL) $(ARGS)

bench-fairness: .venv/dev .tools/opa ## what a greedy client costs a polite one, as JSON
	@exec .venv/bin/python -m bench.fairness $(ARGS)

bench-proxy: .venv/dev .tools/opa ## a day of 60,000 token requests without the token proxy and with it, and its speed; ARGS=--json
	@exec .venv/bin/python -m bench.proxy $(ARGS)

drill-rotation: .venv/dev .tools/oauth-clients/made ## a hundred key rotations under load, with verifiers that cache; JSON
	@exec .venv/bin/python -m bench.rotation $(ARGS)

drill-revocation: .venv/dev .tools/opa ## revocations over three processes, in a storm, and behind a cut; JSON after two minutes
	@exec .venv/bin/python -m bench.revocation $(ARGS)

drill-tamper: .venv/dev ## change a sealed trail in thirty ways as the superuser; each must be found and located
	@exec .venv/bin/python -m bench.tamper $(ARGS)

format: .venv/dev .tools/opa ## rewrite Python and Rego the way lint wants them
	@.venv/bin/ruff format --quiet . && .venv/bin/ruff check --quiet --fix-only .
	@.tools/opa fmt --write policies

docs: .venv/dev ## rewrite the generated pages of docs/
	@.venv/bin/python scripts/generate_docs.py

screenshots: .venv/dev .tools/opa .tools/chromium ## take the pictures of docs/images anew, from a demo made for it
	@exec .venv/bin/python -m scripts.screenshots

requirements: .venv/dev ## resolve the versions anew: requirements/*.txt from pyproject.toml
	@exec scripts/lock

hooks: ## run the quick checks before every commit in this clone
	@git config core.hooksPath scripts/hooks && echo "git runs scripts/hooks/pre-commit from now on"

clean: ## remove what was installed and made, the development database too
	@rm -rf .venv .tools .broker dist .*_cache .hypothesis

.PHONY: help run test lint policy bench bench-peer bench-fairness bench-proxy drill-rotation drill-revocation drill-tamper format docs screenshots requirements hooks clean

# What the targets above stand on, in the order in which it is made.

.venv/made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none is on PATH. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

# --no-build-isolation: the build backend is installed by hash as well, not fetched unseen.
.venv/run: requirements/run.txt requirements/build.txt pyproject.toml .venv/made
	@echo "installing what the broker runs on (once)"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements/dev.txt .venv/run
	@echo "installing what the checks need (once)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# The script says what it does: a build takes about a minute, the first time.
.tools/opa: scripts/install_opa.py requirements/go.txt | .venv/run
	@.venv/bin/python scripts/install_opa.py
	@touch $@

# A machine that cannot have it still runs every other check; the one that needs it says so.
.tools/compose-spec.json: scripts/install_compose_schema.py | .tools/opa
	@-.venv/bin/python scripts/install_compose_schema.py

# Likewise: client libraries that nobody here wrote, for tests/clients.
.tools/oauth-clients/made: scripts/install_oauth_clients.py tests/clients/package.json tests/clients/zitadel.go tests/clients/tlog.go | .tools/opa
	@-.venv/bin/python -m scripts.install_oauth_clients && touch $@

# Likewise: a server of the Redis protocol, for tokens that processes share.
.tools/redis/made: scripts/install_redis.py scripts/install_softhsm.py | .venv/run
	@-.venv/bin/python -m scripts.install_redis && mkdir -p .tools/redis && touch $@

# Likewise: an S3-compatible store with object lock, for checkpoints. A build of about a minute.
.tools/object-store/made: scripts/install_object_store.py scripts/install_oauth_clients.py | .tools/opa
	@-.venv/bin/python -m scripts.install_object_store && touch $@

# Likewise: a PKCS#11 token in software, for keys that never leave one.
.tools/softhsm/made: scripts/install_softhsm.py | .venv/run
	@-.venv/bin/python scripts/install_softhsm.py && mkdir -p .tools/softhsm && touch $@

# Likewise: a browser, for the tests of pages. It is installed and not kept here; this says so.
.tools/chromium: scripts/install_chromium.py | .venv/run
	@-.venv/bin/python scripts/install_chromium.py && mkdir -p .tools && touch $@
