"""What holds for every file of the project, read from the files themselves."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from broker.errors import PUBLIC, Reason
from broker.oauth import OAuthError

ROOT = Path(__file__).parents[2]

# Python lets anyone construct these; the pipeline is only safe while each has one maker.
MAKERS = {
    "VerifiedToken": {"broker/tokens/verify.py"},
    "Permit": {"broker/policy/floor.py"},
    "SignedToken": {"broker/minting/mint.py"},
    "ReusedToken": {"broker/exchange/reuse.py"},
    "IssuedToken": {"broker/audit/commit.py"},
}
# Of what is supposed, and not verified; the import contract "supposed" keeps it from what signs.
SUPPOSED = {"broker/workbench/recorded.py", "broker/workbench/suppose.py"}

# In two halves, so that this file does not name what no file may name.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "golang" + ".org/",
    "goproxy" + ".",
    "npm" + "js.org",
    "npm" + "js.com",
    "crates" + ".io",
    "deb.deb" + "ian.org",
    "api.git" + "hub.com",
    "releases/" + "download/",
]


@cache
def tracked() -> tuple[Path, ...]:
    """Return the files that a clone has."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listing.stdout.decode().split("\0")
    return tuple(ROOT / name for name in names if name and (ROOT / name).is_file())


def text_of(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module of the package, by its path in the repository."""
    paths = sorted(ROOT.glob("broker/**/*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(text_of(path)) for path in paths}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the last part of the name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield function.id, node
            elif isinstance(function, ast.Attribute):
                yield function.attr, node


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the name of each top-level package that is imported, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_s_proof_is_made_in_one_module(name: str) -> None:
    """No module can hand on a token as verified, permitted, signed or recorded but its maker."""
    makers = {path for path, tree in modules().items() for call, _ in calls(tree) if call == name}

    assert MAKERS[name] == makers - (SUPPOSED if name == "VerifiedToken" else set())


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_s_proof_is_not_made_by_copying(name: str) -> None:
    """``replace`` on a proof would be a second maker: no module that imports one calls it."""
    offenders = {
        path
        for path, tree in modules().items()
        if any(
            isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names)
            for node in ast.walk(tree)
        )
        and any(
            call == "replace" and isinstance(node.func, ast.Name | ast.Attribute) and _is_copy(node)
            for call, node in calls(tree)
        )
    }

    assert set() == offenders


def _is_copy(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):  # from dataclasses import replace
        return True
    owner = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in {"dataclasses", "copy"}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_public_row(reason: Reason) -> None:
    """RFC 6749 §5.2: a registered code, and a text within %x20-21 / %x23-5B / %x5D-7E."""
    public = PUBLIC[reason]

    assert public.error in OAuthError
    assert re.fullmatch(r"[\x20\x21\x23-\x5B\x5D-\x7E]+", public.description)
    assert public.description.endswith(".")
    assert public.status in {400, 401, 404, 405, 408, 413, 429, 500, 502, 503}
    assert (public.retry_after is not None) == (public.status in {429, 503})


def test_every_reason_is_raised_or_named_somewhere() -> None:
    """A reason that nothing gives would be a promise of the reference page that nobody keeps."""
    # Subject and actor reasons are made from the token's kind, so their second part is looked for.
    sources = "\n".join(
        text_of(path)
        for path in [*ROOT.glob("broker/**/*.py"), *ROOT.glob("policies/**/*.rego")]
        if path.parent != ROOT / "broker" / "errors"
    )
    unused = [
        reason.value
        for reason in Reason
        if f"Reason.{reason.name}" not in sources
        and f'"{reason.value}"' not in sources
        and f"code: {reason.value}" not in sources
        and not (
            re.match(r"(subject|actor)_token\.", reason.value)
            and re.search(rf"\b{reason.value.split('.')[1]}\b", sources, re.IGNORECASE)
        )
    ]

    assert [] == unused


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        pytest.param(
            "starlette",
            r"broker/(endpoints|explorer|workbench/page)/.*",
            id="starlette-at-the-edge",
        ),
        pytest.param("joserfc", r"broker/jose/.*", id="joserfc-in-jose"),
        pytest.param(
            "sqlalchemy",
            r"broker/(db/.*|[a-z]+/store\.py|audit/.*|replay\.py)",
            id="sqlalchemy-where-rows-are-owned",
        ),
        pytest.param("multipart", r"(?!)", id="multipart-nowhere"),
        pytest.param("pickle", r"(?!)", id="pickle-nowhere"),
    ],
)
def test_a_library_stays_where_it_belongs(library: str, allowed: str) -> None:
    """What is lenient, or knows the wire or the rows, is imported in one place only."""
    offenders = {
        path
        for path, tree in modules().items()
        if library in imports(tree) and not re.fullmatch(allowed, path)
    }

    assert set() == offenders


def test_nothing_reads_a_token_s_claims_unverified_but_its_judges() -> None:
    """CVE-2026-1529: a payload is used before its signature only to choose whose keys to try."""
    judges = r"broker/(jose/.*|tokens/.*|clients/(assertion|authenticate)\.py|cli/.*|demo/.*)"
    offenders = {
        path
        for path, tree in modules().items()
        if any(
            isinstance(node, ast.Attribute)
            and node.attr in {"unverified_claims", "unverified_header"}
            for node in ast.walk(tree)
        )
        and not re.fullmatch(judges, path)
    }
    switched_off = {
        path
        for path, tree in modules().items()
        for _, call in calls(tree)
        for keyword in call.keywords
        if re.search(r"verify", keyword.arg or "")
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is False
    }

    assert set() == offenders
    assert set() == switched_off


def test_no_file_names_a_package_index_or_a_download_host() -> None:
    """Packages come from whatever the machine is set up with; the files only pin their hashes."""
    named = [
        (path.relative_to(ROOT).as_posix(), host)
        for path in tracked()
        for host in REGISTRIES
        if host in text_of(path)
    ]

    assert [] == named


def test_no_file_has_a_path_of_one_machine() -> None:
    """A clone works in any folder, for any user."""
    paths = re.compile(r"(?<![\w.$}])/(work|farm|root|home/[a-z]+)/[a-z.]")
    named = [path.relative_to(ROOT).as_posix() for path in tracked() if paths.search(text_of(path))]

    assert [] == named


def test_no_file_holds_a_credential() -> None:
    """Tokens and keys of the tests are made when they run."""
    # RFC examples end in their own file; a signed token has three parts.
    secret = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----"
        r"|eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}"
    )
    allowed = re.compile(r"tests/vectors/")
    held = [
        name
        for path in tracked()
        if secret.search(text_of(path))
        and not allowed.match(name := path.relative_to(ROOT).as_posix())
    ]

    assert [] == held


def test_every_requirement_is_pinned_with_its_hashes() -> None:
    """What is installed is what was resolved, file by file, with no index named."""
    for path in sorted(ROOT.glob("requirements/*.txt")):
        entries = re.sub(r"\\\n", " ", text_of(path)).splitlines()
        loose = [
            entry
            for entry in entries
            if entry.strip()
            and not entry.lstrip().startswith("#")
            and not re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)
        ]

        assert [] == loose, path.name


def test_the_checks_run_on_what_is_shipped() -> None:
    """Whatever run.txt pins, dev.txt pins to the same version."""
    pins = {
        name: dict(re.findall(r"^([\w.-]+)==(\S+)", text_of(ROOT / name), re.MULTILINE))
        for name in ("requirements/run.txt", "requirements/build.txt", "requirements/dev.txt")
    }
    shipped = pins["requirements/run.txt"] | pins["requirements/build.txt"]

    assert shipped == {name: pins["requirements/dev.txt"].get(name) for name in shipped}


def test_files_keep_the_size_of_their_neighbours() -> None:
    """A file of more than 400 lines holds two nouns."""
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in tracked()
        if path.suffix in {".py", ".rego"}
        and path.relative_to(ROOT).parts[0] != "tests"  # there a file is an RFC, or an attack
        and (lines := text_of(path).count("\n")) > 400
    }

    assert {} == long


def test_a_module_is_named_by_what_it_owns() -> None:
    """A drawer called utils is looked into last."""
    names = {Path(path).stem for path in modules()} | {Path(p).parent.name for p in modules()}

    assert set() == names & {"utils", "util", "helpers", "common", "base", "manager", "misc"}


def test_a_function_says_what_it_does() -> None:
    """``get_``, ``process_`` and ``handle_`` say nothing."""
    vague = [
        f"{path}: {node.name}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and re.match(r"_?(get|process|handle)_", node.name)
        and node.name != "handle_error"  # socketserver's name, overridden
    ]

    assert [] == vague


def test_an_exception_from_a_rule_says_why_on_its_line() -> None:
    """A ``noqa``, ``type: ignore`` or skip without a reason is a rule that nobody keeps."""
    silent = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[\w, -]+\])?)\s*$")
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for path in tracked()
        if path.suffix == ".py"
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if silent.search(line)
    ]

    assert [] == found


def test_what_ci_runs_is_what_you_run() -> None:
    """``.ci/run`` is executable and calls exactly ``make test``."""
    script = ROOT / ".ci" / "run"
    commands = [
        line for line in text_of(script).splitlines() if line and not line.startswith(("#", "set "))
    ]

    assert script.stat().st_mode & 0o111
    assert ['cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make test"] == commands
