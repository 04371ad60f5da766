"""What is reached as a graph in the language of Graphviz."""

from collections.abc import Iterator

from broker.workbench.reach.walk import Hop, Reach
from broker.workbench.reach.words import say_bounds, say_scopes, say_start


def render_dot(reach: Reach) -> str:
    """Return it; what others have named is text in quotes."""
    lines = ["digraph reach {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines.append(f"  n0 [label={_quoted(say_start(reach))}];")
    numbers = iter(range(1, 1_000_000))
    lines += _edges("n0", list(reach.hops), numbers)
    return "\n".join([*lines, "}"]) + "\n"


def _edges(above: str, hops: list[Hop], numbers: Iterator[int]) -> Iterator[str]:
    for hop in hops:
        name = f"n{next(numbers)}"
        label = "\n".join((hop.target, *say_scopes(hop), say_bounds(hop)))
        yield f"  {name} [label={_quoted(label)}];"
        yield f"  {above} -> {name} [label={_quoted(hop.client)}];"
        yield from _edges(name, hop.hops, numbers)


def _quoted(text: str) -> str:
    plain = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
