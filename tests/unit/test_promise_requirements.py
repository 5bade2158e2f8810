"""What the published promises refuse of a compound one: circles, and trees that are too deep."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bondstone.model.promise import Promise
from bondstone.promise.load import parse_promise
from bondstone.promise.requirements import MAX_DEPTH, check_requirements


def compound(name: str, *parts: str) -> Promise:
    manifest = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Promise",
        "metadata": {"name": name, "version": "1.0.0"},
        "spec": {
            "inputs": {"type": "object"},
            "requires": [{"as": f"{part}-{n}", "promise": part} for n, part in enumerate(parts)],
            "steps": [{"id": "own", "terraform": {"module": "m"}}],
        },
    }
    return parse_promise(json.dumps(manifest).encode())


async def problems(*promises: Promise) -> list[str]:
    """What is said of the first, beside all of them."""
    published = {promise.name: promise for promise in promises}

    async def newest(name: str, versions: str) -> Promise | None:
        del versions
        return published.get(name)

    return [problem.message for problem in await check_requirements(promises[0], newest)]


def chain(levels: int) -> list[Promise]:
    """A promise with so many levels of parts below it."""
    return [
        *(compound(f"level-{level}", f"level-{level + 1}") for level in range(levels)),
        compound(f"level-{levels}"),
    ]


async def test_eight_levels_of_parts_are_taken_and_ten_refused() -> None:
    assert await problems(*chain(MAX_DEPTH)) == []
    assert await problems(*chain(MAX_DEPTH + 1))
    [refusal] = await problems(*chain(10))
    assert refusal.startswith(f"parts are more than {MAX_DEPTH} levels deep: level-0 -> level-1 -> ")


async def test_a_circle_is_refused_and_a_diamond_is_not() -> None:
    circle = await problems(compound("one", "two"), compound("two", "three"), compound("three", "one"))
    assert circle == ["promises require each other in a circle: one -> two -> three -> one"]
    assert (
        await problems(
            compound("one", "two", "three"), compound("two", "it"), compound("three", "it"), compound("it")
        )
        == []
    )


WAYS = st.tuples(st.integers(5, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=6))
"""How many promises there are, each a part of the one before, and which are parts of which besides."""


def longest_way(graph: list[set[int]]) -> int:
    """Levels below promise 0; as many as are looked at where it leads into a circle."""
    level, depth = {0}, 0
    while level and depth < 2 * MAX_DEPTH:
        level = {part for number in level for part in graph[number]}
        depth += bool(level)
    return depth


@given(WAYS)
async def test_every_chain_of_parts_ends_within_eight_levels_or_is_refused(
    ways: tuple[int, list[tuple[int, int]]],
) -> None:
    number, besides = ways
    graph = [{each + 1} if each + 1 < number else set() for each in range(number)]
    for parent, part in besides:
        graph[parent % number].add(part % number)
    refusals = await problems(
        *(compound(f"p{n}", *(f"p{part}" for part in parts)) for n, parts in enumerate(graph))
    )
    assert bool(refusals) == (longest_way(graph) > MAX_DEPTH)


async def test_a_wide_tree_of_shared_parts_is_checked_at_once() -> None:
    """Twenty parts on each of eight levels: twenty to the eighth ways down."""
    shared = [compound(f"level-{level}", *([f"level-{level + 1}"] * 20)) for level in range(MAX_DEPTH)]
    assert await problems(*shared, compound(f"level-{MAX_DEPTH}")) == []
