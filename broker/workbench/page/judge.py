"""What a change does: whether it compiles, what its tests say, and who gets more or less."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle, find_opa
from broker.policy.compiler import explain, run_opa
from broker.policy.review.flaw import Flaw
from broker.policy.review.review import review_folder
from broker.policy.snapshot import take_snapshot
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.difference import MatrixDifference, compare_matrices
from broker.workbench.matrix.matrix import Asked, find_area, survey
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.page.scratch import Scratch
from broker.workbench.replay.replayer import CEILING, Replayer
from broker.workbench.replay.report import Report
from broker.workbench.scenarios.document import ScenarioFileError
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.suite import ScenarioTests, ask_all
from broker.workbench.suite import PolicyTests, run_policy_tests

PARTS: Final = ("matrix", "scenarios", "replay", "flaws", "tests")  # the quick ones first
_TEST_TIME: Final = 60.0  # seconds
EVALUATIONS: Final = 500_000  # of each policy: a page is waited for


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is known of one state of the scratch copy; None: not known, for want of another."""

    state: str
    errors: tuple[str, ...] = ()  # each with file and line; any: it cannot be used
    flaws: tuple[Flaw, ...] = ()
    revision: str = ""
    tests: PolicyTests | None = None
    scenarios: ScenarioTests | None = None
    matrix: MatrixDifference | None = None
    replay: Report | None = None
    troubles: Mapping[str, str] = field(default_factory=dict)  # why a part is not known


class Judge:
    """Judges states of one scratch copy, against what it was copied from. Used by one thread."""

    def __init__(
        self,
        scratch: Scratch,
        settings: Settings | None,
        records: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Compile the original; ``records`` are replayed, ``settings`` say who there is.

        Raises ``ConfigurationError`` if the original does not compile.
        """
        self._scratch = scratch
        self._settings = settings
        self._records = tuple(records)
        self._opa = find_opa()
        self._live = self._bundle = build_bundle(scratch.original, opa=self._opa)
        self._parts: dict[str, Callable[[Bundle, dict[str, str]], Any]] = {
            "matrix": self._compare,
            "scenarios": self._ask,
            "replay": self._replay,
            "flaws": self._review,
            "tests": self._test,
        }

    @property
    def live(self) -> str:
        """The revision of the original."""
        return self._live.revision

    def compile(self) -> Judgement:
        """Return whether the copy as it is now can be used. Blocks for about a second."""
        scratch, state = self._scratch, self._scratch.state
        try:
            errors = self._check()
            self._bundle = build_bundle(scratch.folder, opa=self._opa)
        except ConfigurationError as error:
            said = str(error).removeprefix("policy.path: ").splitlines()
            return Judgement(state, tuple(dict.fromkeys(map(self._local, said))))
        return Judgement(state, errors, revision=self._bundle.revision)

    def go_on(self, judgement: Judgement, part: str) -> Judgement:
        """Return a judgement without errors with one more of the ``PARTS``. Blocks for longer."""
        troubles = dict(judgement.troubles)
        try:
            found = {part: self._parts[part](self._bundle, troubles)}
        except ConfigurationError as error:
            troubles[part] = self._local(str(error).removeprefix("policy.path: "))
            found = {}
        return replace(judgement, troubles=troubles, **found)

    def _check(self) -> tuple[str, ...]:
        """Return what the types of the policy are wrong in, as ``opa check`` has it."""
        folder = self._scratch.folder
        schemas = ["--schema", "schemas"] if (folder / "schemas").is_dir() else []
        ended = run_opa(self._opa, ["check", "--strict", *schemas, "-b", "."], folder=folder)
        if ended.returncode == 0:
            return ()
        said = explain(ended.stderr or ended.stdout, folder)
        return tuple(map(self._local, said.splitlines()))

    def _review(self, bundle: Bundle, _: dict[str, str]) -> tuple[Flaw, ...]:
        folder = self._scratch.folder
        found = review_folder(self._opa, take_snapshot(folder), bundle, self._settings, folder)
        return tuple(
            replace(flaw, place=self._local(flaw.place), text=self._local(flaw.text))
            for flaw in found
        )

    def _test(self, _: Bundle, _troubles: dict[str, str]) -> PolicyTests:
        return run_policy_tests(self._opa, self._scratch.folder, measure=False, deadline=_TEST_TIME)

    def _ask(self, bundle: Bundle, troubles: dict[str, str]) -> ScenarioTests | None:
        try:
            # Of the original, beside which its configuration is; they are not edited here.
            files = [read_scenarios(path) for path in find_scenario_files([self._scratch.original])]
        except ScenarioFileError as error:
            troubles["scenarios"] = str(error)
            return None
        return ask_all(files, bundle) if files else None

    def _compare(self, bundle: Bundle, troubles: dict[str, str]) -> MatrixDifference | None:
        settings = self._settings
        if settings is None:
            troubles["matrix"] = "nobody said who there is: start it with --config"
            return None
        names = gather(self._live, settings) | gather(bundle, settings)
        circumstance = Circumstance(datetime.now(UTC).replace(microsecond=0))
        asked = Asked(find_area(settings), (circumstance,), names)
        ceiling = settings.max_delegation_depth
        matrices = []
        for each in (self._live, bundle):
            with closing(Candidate(each, ceiling=ceiling)) as candidate:
                matrices.append(survey(candidate, settings, asked, Budget(EVALUATIONS)))
        return compare_matrices(*matrices)

    def _replay(self, bundle: Bundle, troubles: dict[str, str]) -> Report | None:
        if not self._records:
            troubles["replay"] = "no decisions were named: start it with --from or --since"
            return None
        with (
            closing(Candidate(bundle, ceiling=CEILING)) as candidate,
            closing(Candidate(self._live, ceiling=CEILING)) as live,
        ):
            replayer = Replayer(candidate, against=live)
            replayer.feed(self._records)
        return Report(
            candidate=bundle.revision,
            against=self._live.revision,
            since=None,
            until=None,
            client=None,
            target=None,
            limit=None,
            sample=1.0,
            whole=not replayer.exhausted,
            tally=replayer.tally,
        )

    def _local(self, text: str) -> str:
        """Return text with files as they are called here: where the copy is, is nobody's matter."""
        folder = str(self._scratch.folder)
        return text.replace(f"{folder}/", "").replace(folder, "the policy").strip()
