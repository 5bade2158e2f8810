"""What regorus notices only when a rule is asked, and OPA when it compiles.

That is: rules that need themselves, and names in a rule's head that nothing gives a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Tree = Mapping[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One definition of a rule."""

    file: str
    path: Path
    """`data`, the package, the name."""
    span: Mapping[str, int]
    needs: frozenset[Path]
    """What it refers to, as full paths."""
    unbound: tuple[tuple[str, Mapping[str, int]], ...]
    """Names in its head, and in its negations, that have no value, with their places."""


def chain(node: Tree) -> Path:
    """The names of a reference, as far as they are constant: `a`, `b` for `a.b[x].c`."""
    if "Var" in node:
        return (str(node["Var"]["value"]),)
    if "RefDot" in node:
        before = chain(node["RefDot"]["refr"])
        whole = _is_constant(node["RefDot"]["refr"])
        return (*before, str(node["RefDot"]["field"][1])) if before and whole else before
    if "RefBrack" in node:
        before = chain(node["RefBrack"]["refr"])
        index = node["RefBrack"]["index"]
        whole = _is_constant(node["RefBrack"]["refr"]) and "String" in index
        return (*before, str(index["String"]["value"])) if before and whole else before
    return ()


def _is_constant(node: Tree) -> bool:
    if "RefDot" in node:
        return _is_constant(node["RefDot"]["refr"])
    if "RefBrack" in node:
        return "String" in node["RefBrack"]["index"] and _is_constant(node["RefBrack"]["refr"])
    return "Var" in node


def rules(tree: Tree, known: frozenset[Path]) -> Iterator[Rule]:
    """The rules of one module.

    Args:
        tree: Its syntax tree, as regorus gives it.
        known: Paths of all rules of all modules.
    """
    package = ("data", *chain(tree["ast"]["package"]["refr"]))
    contents = str(tree["source"]["contents"]).encode()
    imports = _imports(tree)
    outside = outer_names(tree, known)
    for item in tree["ast"].get("rules") or ():
        if "Spec" not in item:
            continue
        spec = item["Spec"]
        ((kind, head),) = spec["head"].items()
        local = frozenset(declared(spec))
        needs = set()
        for reference in _references([head.get("key"), head.get("assign"), head.get("args"), spec["bodies"]]):
            first = reference[0]
            if first in local or first == "input":
                continue
            full = (*imports[first], *reference[1:]) if first in imports else reference
            needs.add(full if full[0] == "data" else (*package, *reference))
        yield Rule(
            file=str(tree["source"]["file"]),
            path=(*package, *chain(head["refr"])),
            span=spec["span"],
            needs=frozenset(needs),
            unbound=(
                *_unbound(kind, head, spec["bodies"], outside | {"_"}),
                *_negated(head, spec["bodies"], outside, contents),
            ),
        )


def outer_names(tree: Tree, known: frozenset[Path]) -> frozenset[str]:
    """Names that have a meaning outside the rules of a module: `input`, `data`, imports, rules of its package.

    Args:
        tree: Its syntax tree, as regorus gives it.
        known: Paths of all rules of all modules.
    """
    package = ("data", *chain(tree["ast"]["package"]["refr"]))
    of_package = {name for path in known if path[: len(package)] == package for name in path[len(package) :][:1]}
    return frozenset({"input", "data", *_imports(tree), *of_package})


def _imports(tree: Tree) -> dict[str, Path]:
    imports = {}
    contents = str(tree["source"]["contents"]).encode()
    for item in tree["ast"].get("imports") or ():
        path = chain(item["refr"])
        alias = item.get("as")
        name = contents[alias["start"] : alias["end"]].decode() if isinstance(alias, dict) else path[-1]
        imports[name] = path
    return imports


def paths(tree: Tree) -> Iterator[Path]:
    """The full path of every rule of a module."""
    package = ("data", *chain(tree["ast"]["package"]["refr"]))
    for item in tree["ast"].get("rules") or ():
        ((_, inner),) = item.items()
        head = inner.get("head")
        reference = next(iter(head.values()))["refr"] if head else inner.get("refr")
        if reference:
            yield (*package, *chain(reference))


def cycles(definitions: Iterable[Rule]) -> Iterator[tuple[Rule, list[Path]]]:
    """Each rule that needs itself, with the way round."""
    by_path: dict[Path, list[Rule]] = {}
    for rule in definitions:
        by_path.setdefault(rule.path, []).append(rule)
    edges = {
        path: sorted({other for rule in group for need in rule.needs for other in _met(need, by_path)})
        for path, group in by_path.items()
    }
    for path, group in sorted(by_path.items()):
        way = _way(path, edges)
        if way:
            yield group[0], way


def _met(need: Path, by_path: Mapping[Path, Any]) -> Iterator[Path]:
    for end in range(len(need), 0, -1):
        if need[:end] in by_path:
            yield need[:end]
            return
    if len(need) > 1:  # all of a package; `data[x]` alone says too little
        yield from (path for path in by_path if path[: len(need)] == need)


def _way(start: Path, edges: Mapping[Path, list[Path]]) -> list[Path]:
    came: dict[Path, Path] = {}
    waiting = [start]
    while waiting:
        at = waiting.pop(0)
        for following in edges.get(at, ()):
            if following == start:
                way = [at]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return [*reversed(way), start]
            if following not in came:
                came[following] = at
                waiting.append(following)
    return []


def _references(node: Any) -> Iterator[Path]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        reference = chain(node)
        if reference:
            yield reference
            yield from _indexes(node)
            return
        for name, inner in node.items():
            if name not in {"span", "field"}:
                yield from _references(inner)


def _indexes(node: Tree) -> Iterator[Path]:
    while "RefDot" in node or "RefBrack" in node:
        ((_, inner),) = node.items()
        if "index" in inner:
            yield from _references(inner["index"])
        node = inner["refr"]


def _variables(node: Any) -> Iterator[tuple[str, Mapping[str, int]]]:
    if isinstance(node, list):
        for item in node:
            yield from _variables(item)
    elif isinstance(node, dict):
        for name, inner in node.items():
            if name == "Var":
                yield str(inner["value"]), inner["span"]
            elif name == "Call":
                yield from _variables(inner["params"])
            elif name not in {"span", "field", "ArrayCompr", "SetCompr", "ObjectCompr"}:
                yield from _variables(inner)


def local_names(query: Tree) -> Iterator[str]:
    """Names that the conditions of a body declare with `:=` and `some … in`, without those of bodies in it."""
    for item in query["stmts"]:
        literal = item["literal"]
        if "SomeIn" in literal:
            yield from (name for name, _ in _variables([literal["SomeIn"]["key"], literal["SomeIn"]["value"]]))
        assignment = literal.get("Expr", {}).get("expr", {}).get("AssignExpr", {})
        if assignment.get("op") == "ColEq":
            yield from (name for name, _ in _variables(assignment["lhs"]))


def argument_names(head: Tree) -> Iterator[str]:
    """Names of a function's arguments.

    Args:
        head: The head of a rule, without its kind.
    """
    yield from (name for name, _ in _variables(head.get("args")))


def declared(node: Any) -> Iterator[str]:
    """Names that a rule gives a value by itself."""
    if isinstance(node, list):
        for item in node:
            yield from declared(item)
    elif isinstance(node, dict):
        if node.get("op") == "ColEq" and "lhs" in node:
            yield from (name for name, _ in _variables(node["lhs"]))
        for name, inner in node.items():
            yield from _declared_by(name, inner)
            if name not in {"span", "field"}:
                yield from declared(inner)


def _declared_by(kind: str, inner: Any) -> Iterator[str]:
    if kind == "args":
        yield from (name for name, _ in _variables(inner))
    elif kind == "SomeIn":
        yield from (name for name, _ in _variables([inner.get("key"), inner["value"]]))
    elif kind == "SomeVars":
        yield from _spelt(inner)
    elif kind == "Every":
        yield from _spelt([inner.get("key"), inner["value"]])


def _spelt(node: Any) -> Iterator[str]:
    """Names that regorus gives as a place and a text."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from _spelt(item)
    elif isinstance(node, dict):
        for name, inner in node.items():
            if name != "span":
                yield from _spelt(inner)


def _unbound(kind: str, head: Tree, bodies: Any, known: frozenset[str]) -> Iterator[tuple[str, Mapping[str, int]]]:
    inside = {*_within(bodies), *declared(bodies), *(name for name, _ in _variables(head.get("args")))}
    values = [head.get("key")] if kind == "Set" else []
    assign = head.get("assign")
    if isinstance(assign, dict):
        values.append(assign["value"])
    for name, span in _variables(values):
        if name not in inside | known:
            yield name, span


def _negated(
    head: Tree, bodies: Any, known: frozenset[str], source: bytes
) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Names in negations that no other part of the same body, or of one around it, gives a value."""
    known |= set(argument_names(head))
    queries = [body["query"] for body in bodies or ()]
    yield from _negated_in([head.get("key"), head.get("assign")], known.union(*map(_bound_names, queries)), source)
    for body, query in zip(bodies or (), queries, strict=True):
        yield from _negated_in(body, known | _bound_names(query), source)


def _negated_in(node: Any, bound: frozenset[str], source: bytes) -> Iterator[tuple[str, Mapping[str, int]]]:
    if isinstance(node, list):
        for item in node:
            yield from _negated_in(item, bound, source)
    elif isinstance(node, dict):
        if "stmts" in node:
            bound |= _bound_names(node)
        if "Every" in node:
            spans = (node["Every"].get("key"), node["Every"]["value"])
            bound |= {source[span["start"] : span["end"]].decode() for span in spans if span}
        for name, inner in node.items():
            if name == "NotExpr":
                yield from ((used, span) for used, span in _variables(inner["expr"]) if used not in bound)
            if name not in {"span", "field"}:
                yield from _negated_in(inner, bound, source)


def _bound_names(query: Tree) -> frozenset[str]:
    """Names to which the conditions of a body can give a value: negations and `every` cannot."""
    conditions = [item["literal"] for item in query["stmts"] if not {"NotExpr", "Every"} & set(item["literal"])]
    return frozenset(name for name, _ in _variables(conditions)) - {"_"}


def _within(node: Any) -> Iterator[str]:
    """Every name anywhere, comprehensions too."""
    if isinstance(node, list):
        for item in node:
            yield from _within(item)
    elif isinstance(node, dict):
        for name, inner in node.items():
            if name == "Var":
                yield str(inner["value"])
            elif name not in {"span", "field"}:
                yield from _within(inner)
