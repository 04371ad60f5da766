"""An explanation as a tree on a terminal, from the outcome down to the line of each rule."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from broker.cli.console import printable, short_revision
from broker.errors import PUBLIC
from broker.workbench.explain.concerns import Concern, OwnRules, Standing
from broker.workbench.explain.explanation import Agreement, Explanation
from broker.workbench.explain.fates import Cause, Fate, Outcome
from broker.workbench.explain.floor import Finding
from broker.workbench.explain.limits import Limit
from broker.workbench.explain.record import Since
from broker.workbench.explain.rule import Place, Rule, State
from broker.workbench.explain.why_not import WhyNot

_SIGNS: Final = {
    Standing.PASSES: ("✓ ", "good"),
    Standing.REFUSES: ("✗ ", "bad"),
    Standing.UNDEFINED: ("✗ ", "bad"),
    Standing.NOT_JUDGED: ("· ", "quiet"),
    Standing.UNKNOWN: ("· ", "quiet"),
}
_SAYS: Final = {
    Standing.UNDEFINED: "has no answer, and allow needs one",
    Standing.NOT_JUDGED: "is not judged without a grant",
    Standing.UNKNOWN: "is not known: the policy has no Rego at hand",
}
_CAUSES: Final = {
    Cause.NO_GRANT: "there is no grant to give it",
    Cause.NOT_HELD: "the subject does not hold it",
    Cause.RULE: "nothing of its own stands against it, but another rule does",
}
_STATES: Final = {
    State.HELD: ("✓ ", "good"),
    State.FAILED: ("✗ ", "quiet"),
    State.UNTRIED: ("· ", "quiet"),
}


class TreePrinter:
    """Prints what was found about a policy in ``folder``, as who asks has named that."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        # As one would name it from here; elsewhere what stands in the head is enough.
        here = folder.absolute().is_relative_to(Path.cwd())
        self._folder = folder.absolute().relative_to(Path.cwd()) if here else Path()
        self._shown = folder

    def print(self, found: Explanation, *, since: Since | None, rules: bool) -> None:
        """Print one explanation; with ``rules`` every rule that was looked into."""
        tree = Tree(_head(found), guide_style="quiet")
        for line in _about(found, self._shown):
            tree.add(line)
        if since is not None:
            tree.add(_since(found, since))
        for concern in found.concerns:
            if concern.facts or concern.rules or concern.standing is not Standing.PASSES:
                self._concern(tree, found, concern)
        for own in found.own:
            self._own(tree, own)
        _floor(tree, found)
        if found.stopped is not None:
            tree.add(self._ended(found.stopped))
        if rules:
            below = tree.add(Text("rules that were looked into", "heading"))
            for rule in found.rules:
                below.add(self._rule(rule))
        self._console.print(tree)

    def print_why_not(self, answers: Iterable[WhyNot]) -> None:
        """Print each answer as a paragraph, and where to change what it names."""
        for answer in answers:
            self._console.print(Padding(Text(printable(answer.paragraph)), (1, 0, 0, 0)))
            places = dict.fromkeys(
                str(change.place)
                for remedy in answer.remedies
                for change in remedy.changes
                if change.place is not None
            )
            for place in places:
                self._console.print(Text(f"  {self._folder / place}", "link"))
            if answer.remedies:
                tried = f"Each was tried: {answer.tried} changes, alone and together."
                self._console.print(Text(f"  {tried}", "quiet"))

    def _concern(self, tree: Tree, found: Explanation, concern: Concern) -> None:
        sign = Text.assemble(_SIGNS[concern.standing], (concern.name, "heading"))
        if concern.reasons:
            sign.append(f"  {', '.join(concern.reasons)}", "bad")
        elif concern.standing in _SAYS:
            sign.append(f"  {_SAYS[concern.standing]}", "quiet")
        below = tree.add(sign)
        for fact in concern.facts:
            below.add(Text(printable(fact.text)).append(self._at(fact.place)))
        if concern.name == "scopes":
            for fate in found.scopes:
                below.add(self._fate(fate))
        elif concern.name == "lifetime":
            self._limits(below, found.lifetime, "s")
        elif concern.name == "depth":
            below.add(Text(f"it is exchange {found.case.exchange.delegation.depth}"))
            self._limits(below, found.depth, "exchanges")
        for rule in concern.rules:
            below.add(self._by(rule, refuses=concern.standing is Standing.REFUSES))
        for rule in concern.failed:
            below.add(self._ended(rule))

    def _own(self, tree: Tree, own: OwnRules) -> None:
        sign = ("✗ ", "bad") if own.reasons else ("✓ ", "good")
        line = Text.assemble(sign, (f"broker.rules.{printable(own.name)}", "heading"))
        if own.reasons:
            line.append(f"  {printable(', '.join(own.reasons))}", "bad")
        else:
            line.append("  has no objection", "quiet")
        if own.obligations:
            line.append(f"  obliges: {printable(', '.join(own.obligations))}", "warning")
        below = tree.add(line)
        for rule in own.rules:
            below.add(self._by(rule, refuses=rule.name == "deny"))
        for rule in own.failed:
            below.add(self._ended(rule))

    def _fate(self, fate: Fate) -> Text:
        scope = printable(fate.scope)
        if fate.outcome is Outcome.HELD:
            line = Text.assemble(("✓ ", "good"), scope, ("  held by the subject", "quiet"))
        elif fate.outcome is Outcome.DERIVED:
            source = printable(fate.derived_from or "")
            line = Text.assemble(("✓ ", "good"), scope, (f"  follows from {source}", "quiet"))
        elif fate.outcome is Outcome.POSSIBLE:
            said = "  would be granted, were it asked for alone"
            line = Text.assemble(("· ", "quiet"), scope, (said, "quiet"))
        else:
            cut = fate.outcome is Outcome.CUT
            line = Text.assemble(("- ", "warning") if cut else ("✗ ", "bad"), (scope, "gone"))
            line.append(f"  {'cut' if cut else 'refused'}: {printable(_cause(fate))}")
        for place in fate.places:
            line.append(self._at(place))
        return line

    def _limits(self, tree: Tree, limits: Sequence[Limit], unit: str) -> None:
        for limit in limits:
            value = "cannot be read" if limit.value is None else f"{limit.value} {unit}"
            line = Text(f"{value}  {limit.name} of {printable(limit.of)}")
            line.append(self._at(limit.place))
            if limit.least:
                line.append("  ← the least", "warning")
            tree.add(line)

    def _by(self, rule: Rule, *, refuses: bool) -> Text:
        line = Text(f"by {rule.name}", "bad" if refuses else "quiet").append(self._at(rule.place))
        if refuses and rule.description:
            line.append(f"  {printable(rule.description)}", "default")
        return line

    def _rule(self, rule: Rule) -> Text:
        line = Text.assemble(_STATES[rule.state], f"{rule.package}.{rule.name}")
        line.append(self._at(rule.place))
        if rule.stopped is not None:
            line.append(
                f"  ended at line {rule.stopped.line}: {printable(rule.stopped_text)}", "quiet"
            )
        return line

    def _ended(self, rule: Rule) -> Text:
        line = Text(f"{rule.name} did not hold: it ended at").append(self._at(rule.stopped))
        return line.append(f"  {printable(rule.stopped_text)}", "quiet")

    def _at(self, place: Place | None) -> Text:
        if place is None:
            return Text()
        return Text(printable(f"  {self._folder / place.file}:{place.line}"), "link")


def _head(found: Explanation) -> Text:
    verdict = found.verdict
    if verdict.allowed:
        scopes = printable(" ".join(verdict.scopes))
        return Text.assemble(
            ("✓ ", "good"), ("permitted  ", "heading"), f"{scopes}  for {verdict.lifetime} s"
        )
    head = Text.assemble(("✗ ", "bad"), ("refused  ", "heading"))
    head.append(", ".join(reason.value for reason in verdict.reasons), "bad")
    if verdict.fault is not None:
        head.append(f"  the policy is at fault: {verdict.fault.value}", "bad")
        head.append(f"  {printable(verdict.detail)}", "bad")
    return head


def _about(found: Explanation, folder: Path) -> Iterator[Text]:
    exchange = found.case.exchange
    subject = exchange.subject.principal
    who = f"{found.case.client} → {', '.join(found.case.targets)}"
    yield Text(printable(who), "client").append(
        printable(f"  for {subject.subject} of {subject.issuer}"), "default"
    )
    holds = " ".join(sorted(exchange.subject.scopes)) or "no scope"
    asks = " ".join(exchange.scopes) or "the defaults"
    yield Text(printable(f"asks for {asks}; the subject holds {holds}"))
    at = f"{exchange.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield Text(printable(f"{at}, request {exchange.request.id}"), "quiet")
    agreed = {
        Agreement.SAME: "; two evaluations agree",
        Agreement.DIFFERENT: "; two evaluations DIFFER",
        Agreement.NOT_COMPARED: "; a built bundle, so no rule can be named",
    }[found.agreement]
    yield Text(f"policy {short_revision(found.revision)} of {folder}{agreed}", "quiet")
    if found.verdict.reasons:
        first = PUBLIC[found.verdict.reasons[0]]
        yield Text(f"the client reads: {first.error.value}: {first.description}", "quiet")
    if found.error:
        yield Text(printable(found.error), "bad")


def _since(found: Explanation, since: Since) -> Text:
    then = "permitted" if since.issued else f"refused ({', '.join(since.reasons)})"
    now = "permitted" if found.verdict.allowed else "refused"
    if found.verdict.allowed and since.same_decision and not since.issued:
        return Text(f"on record: {then}, though the policy had permitted it", "warning")
    if since.same_policy:
        return Text(f"on record: {then}, by this very policy")
    line = Text(f"on record: {then}, by another policy {short_revision(since.revision)}", "warning")
    same = "decides the same" if since.same_decision else f"decides otherwise: {now}"
    return line.append(f"; this one {same}")


def _floor(tree: Tree, found: Explanation) -> None:
    broken = [check for check in found.floor if check.finding is Finding.BROKEN]
    if broken:
        below = tree.add(Text.assemble(("✗ ", "bad"), ("floor", "heading")))
        for check in broken:
            below.add(Text(f"{check.invariant.value} is broken: {check.means}", "bad"))
    elif all(check.finding is Finding.HOLDS for check in found.floor):
        line = Text.assemble(("✓ ", "good"), ("floor", "heading"))
        tree.add(line.append(f"  all {len(found.floor)} invariants hold", "quiet"))
    else:
        line = Text.assemble(("· ", "quiet"), ("floor", "heading"))
        tree.add(line.append("  not asked: a refusal is believed", "quiet"))


def _cause(fate: Fate) -> str:
    if fate.cause is Cause.UNKNOWN:
        return f"{', '.join(fate.unknown_at)} does not know it"
    if fate.cause is Cause.NOT_GRANTED:
        return f"the grant for {', '.join(fate.missing_in)} neither lists nor derives it"
    said = "" if fate.cause is None else _CAUSES[fate.cause]
    if fate.cause is Cause.NOT_HELD and fate.would_follow_from:
        said += f", nor what it follows from ({', '.join(fate.would_follow_from)})"
    return said
