"""What ``reach`` says is obtained is obtained over HTTP, hop by hop, and the rest is refused."""

import random
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from broker.policy.bundle import Bundle, build_bundle
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.question import SupposedToken
from broker.workbench.reach.walk import Reach, Walker
from tests.configuration import document, grants
from tests.integration.policy.conftest import STOCK
from tests.jwts import subject_jwt
from tests.wire import ACCESS_TOKEN, JWT, basic, exchange_form

HOLDS = ("orders.read", "customers.read")
SAMPLE = 12  # paths


@pytest.fixture(scope="module")
def reach(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> Reach:
    """What ``svc-a`` reaches with a token of alice, by the policy of the broker under test."""
    folder = tmp_path_factory.mktemp("reach") / "policies"
    shutil.copytree(STOCK, folder)
    (folder / "broker" / "grants" / "data.yaml").write_text(yaml.safe_dump(grants()))
    bundle: Bundle = build_bundle(folder, opa=opa)
    settings = Settings.model_validate(document(audit={}))
    with closing(Candidate(bundle, ceiling=settings.max_delegation_depth)) as candidate:
        circumstance = Circumstance(datetime.now(UTC))
        walker = Walker(
            candidate, settings, circumstance, gather(bundle, settings), Budget(), most=5000
        )
        return walker.walk("svc-a", SupposedToken("idp", "alice", frozenset(HOLDS)))


async def test_every_path_is_walked_by_real_exchanges(broker, reach):
    """A sample of each length, each hop with the scopes that it is said to have."""
    paths = list(reach.paths)
    assert not reach.cut
    chosen = random.Random(8693).sample(paths, min(SAMPLE, len(paths)))
    assert {1, 2, 3} <= {len(path) for path in chosen} | {len(paths[0])}
    for path in chosen:
        token, kind = subject_jwt(scope=" ".join(HOLDS)), JWT
        for hop in path:
            form = exchange_form(
                subject_token=token,
                subject_token_type=kind,
                audience=hop.target,
                scope=" ".join(hop.scopes),
                purpose=hop.purposes[0] if hop.purposes else None,
            )
            answer = await broker.exchange(form, auth=basic(hop.client))
            assert answer.status_code == 200, (answer.text, path)
            body = answer.json()
            assert tuple(sorted(body["scope"].split())) == hop.scopes
            assert body["expires_in"] <= hop.terms.lifetime
            token, kind = body["access_token"], ACCESS_TOKEN


async def test_what_is_not_reached_in_one_exchange_is_refused(broker, reach):
    """Every target and scope, asked of the broker itself."""
    first = {(path[0].target, scope) for path in reach.paths for scope in path[0].scopes}
    settings = document()
    for target in settings["targets"]:
        for scope in target["scopes"]:
            form = exchange_form(
                subject_token=subject_jwt(scope=" ".join(HOLDS)),
                audience=target["name"],
                scope=scope,
            )
            answer = await broker.exchange(form)
            assert (answer.status_code == 200) == ((target["name"], scope) in first), answer.text
