"""What the published promises refuse of a compound one: circles, and trees that are too deep."""

from __future__ import annotations

import json

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
            "requires": [{"as": part, "promise": part} for part in parts],
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
