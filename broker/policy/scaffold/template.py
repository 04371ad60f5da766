"""A rule of the library as a package of one's own: what it says, asks for, and is tested by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Patch = dict[str, Any]  # by the path of a member of the input, its value


@dataclass(frozen=True, slots=True)
class Template:
    """A rule of the library, ready to be called for one target."""

    function: str  # of the library's package
    title: str  # {target} stands for the target's name
    refuses: str  # when it refuses, as a sentence
    parameters: Mapping[str, Any]  # by rule of the library; {target} stands for its name
    met: Patch
    unmet: Patch
    everywhere: bool = False  # it concerns every target
    obliges: bool = False  # and whoever it lets pass is told of


_WEEKDAYS: Final = ["mon", "tue", "wed", "thu", "fri"]
_WEDNESDAY_NOON: Final = 1795608000  # 2026-11-25T12:00:00Z
_SUNDAY_NOON: Final = 1795953600  # 2026-11-29T12:00:00Z
_CHRISTMAS: Final = 1798156800  # 2026-12-25T00:00:00Z
_BROKER: Final = {"issuer": "https://broker.example.com", "subject": "checkout"}
_STRANGER: Final = {"issuer": "https://stranger.example.com", "subject": "mallory"}

TEMPLATES: Final[Mapping[str, Template]] = {
    "actors": Template(
        function="allowed",
        title="Who may act at {target}",
        refuses="Somebody is in the chain whom the broker itself does not vouch for.",
        parameters={"actors": {"issuers": [_BROKER["issuer"]]}},
        met={"/delegation/acting": _BROKER, "/delegation/chain": [_BROKER]},
        unmet={"/delegation/acting": _STRANGER, "/delegation/chain": [_STRANGER, _BROKER]},
    ),
    "age": Template(
        function="within",
        title="Fresh tokens for {target}",
        refuses="The subject token was issued too long ago.",
        parameters={"age": {"subject": "15m"}},
        met={"/request/time": 1795608000, "/subject/issued_at": 1795608000 - 900},
        unmet={"/request/time": 1795608000, "/subject/issued_at": 1795608000 - 901},
    ),
    "break_glass": Template(
        function="invoked",
        title="Break the glass for {target}",
        refuses="The subject is not on duty, or names no ticket.",
        parameters={
            "break_glass": {
                "claim": "groups",
                "members": ["on-call"],
                "ticket": "{target}-incident",
            },
            "ticket": {"projects": ["INC"]},
        },
        met={"/subject/claims": {"groups": ["on-call"]}, "/request/purpose": "INC-7"},
        unmet={"/subject/claims": {"groups": ["on-call"]}, "/request/purpose": None},
        obliges=True,
    ),
    "hours": Template(
        function="within",
        title="Hours of {target}",
        refuses="It is outside of the hours, or nobody said what time it is.",
        parameters={
            "hours": [{"days": _WEEKDAYS, "from": "08:00", "to": "18:00", "utc_offset": "+00:00"}]
        },
        met={"/request/time": _WEDNESDAY_NOON},
        unmet={"/request/time": _SUNDAY_NOON},
    ),
    "network": Template(
        function="within",
        title="Networks for {target}",
        refuses="The request comes from elsewhere.",
        parameters={"network": ["192.0.2.0/24"]},
        met={"/request/source": "192.0.2.1"},
        unmet={"/request/source": "198.51.100.1"},
    ),
    "partner": Template(
        function="within",
        title="What a partner may get",
        refuses="A subject or an actor of the partner would get more than it may.",
        parameters={
            "partner": {
                "issuers": ["https://partner.example.com"],
                "targets": ["{target}"],
                "scopes": ["{target}.read"],
            }
        },
        met={"/subject/issuer": "https://idp.example.com"},
        unmet={"/subject/issuer": "https://partner.example.com"},
        everywhere=True,
    ),
    "period": Template(
        function="outside",
        title="A freeze of {target}",
        refuses="It is within a freeze, or nobody said what time it is.",
        parameters={"period": [{"from": "2026-12-20", "to": "2027-01-03"}]},
        met={"/request/time": _WEDNESDAY_NOON},
        unmet={"/request/time": _CHRISTMAS},
    ),
    "step_up": Template(
        function="met",
        title="Step-up for {target}",
        refuses="The subject did not sign in strongly enough, or nobody said how it did.",
        parameters={"step_up": {"amr": ["hwk"], "max_age": "15m"}},
        met={
            "/request/time": 1795608000,
            "/subject/claims": {"amr": ["pwd", "hwk"], "auth_time": 1795607900},
        },
        unmet={
            "/request/time": 1795608000,
            "/subject/claims": {"amr": ["pwd"], "auth_time": 1795607900},
        },
    ),
    "tenant": Template(
        function="isolated",
        title="Tenants of {target}",
        refuses="The subject is of a tenant that the target does not serve.",
        parameters={"tenant": {"claim": "tenant", "targets": {"{target}": ["acme"]}}},
        met={"/subject/claims": {"tenant": "acme"}},
        unmet={"/subject/claims": {"tenant": "globex"}},
    ),
    "ticket": Template(
        function="given",
        title="A ticket for {target}",
        refuses="No ticket is named.",
        parameters={"ticket": {"projects": ["CHG"]}},
        met={"/request/purpose": "CHG-1201"},
        unmet={"/request/purpose": "because"},
    ),
}

_RULE: Final = """# METADATA
# title: {title}
# description: |
#   By the rule {rule} of the library, with the parameters `{rule}.{target}` of
#   broker/parameters/data.yaml.
# schemas:
#   - input: schema.input
package broker.rules.{package}

{imports}

# METADATA
# description: {refuses}
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {{
{concerns}	not {rule}.{function}("{target}")
}}
"""
_OBLIGE: Final = """
# METADATA
# description: Somebody is told of whoever it lets pass, in the log and by an alert.
oblige contains "alert" if {{
	asks.target("{target}")
	{rule}.{function}("{target}")
}}
"""
_TESTS: Final = """package broker.rules.{package}_test

import data.broker.exchange.fixture_test as fixture
import data.broker.rules.{package}

_asked(target, changes) := json.patch(fixture.good, array.concat(
	[{{"op": "add", "path": "/request/targets/0/name", "value": target}}],
	[{{"op": "add", "path": path, "value": value}} | some path, value in changes],
))

_met := {met}

_unmet := {unmet}

test_it_refuses_where_it_is_not_met if {{
	{package}.deny == {{"policy.denied"}} with input as _asked("{target}", _unmet)
}}

test_it_lets_pass_where_it_is_met if {{
	{package}.deny == set() with input as _asked("{target}", _met)
}}
"""
_ELSEWHERE: Final = """
test_other_targets_are_not_its_concern if {{
	{package}.deny == set() with input as _asked("not-{target}", _unmet)
}}
"""
_TOLD: Final = """
test_somebody_is_told_of_whom_it_lets_pass if {{
	{package}.oblige == {{"alert"}} with input as _asked("{target}", _met)
	{package}.oblige == set() with input as _asked("{target}", _unmet)
	{package}.oblige == set() with input as _asked("not-{target}", _met)
}}
"""


def render_rule(rule: str, package: str, target: str) -> tuple[str, str]:
    """Return a package directly below ``broker.rules`` that calls the rule, and its test."""
    template = TEMPLATES[rule]
    used = [rule] if template.everywhere else sorted(["asks", rule])
    names = {
        "rule": rule,
        "package": package,
        "target": target,
        "function": template.function,
        "title": template.title.format(target=target),
        "refuses": template.refuses,
        "imports": "\n".join(f"import data.broker.library.{each}" for each in used),
        "concerns": "" if template.everywhere else f'\tasks.target("{target}")\n',
        "met": json.dumps(template.met),
        "unmet": json.dumps(template.unmet),
    }
    text = _RULE + (_OBLIGE if template.obliges else "")
    tests = _TESTS + ("" if template.everywhere else _ELSEWHERE)
    tests += _TOLD if template.obliges else ""
    return text.format(**names), tests.format(**names)


def build_parameters(rule: str, target: str) -> dict[str, Any]:
    """Return what the rule is called with: by rule of the library, below the name it is given."""
    return {
        name: {target if name == rule else f"{target}-incident": _named(row, target)}
        for name, row in TEMPLATES[rule].parameters.items()
    }


def _named(value: Any, target: str) -> Any:  # noqa: ANN401 — stands for any JSON value
    if isinstance(value, str):
        return value.replace("{target}", target)
    if isinstance(value, list):
        return [_named(each, target) for each in value]
    if isinstance(value, Mapping):
        return {_named(key, target): _named(each, target) for key, each in value.items()}
    return value
