"""How many objects a plan changes, added up and as people read it."""

from __future__ import annotations

from typing import Final, Self

COUNTED: Final = ("create", "update", "replace", "delete", "forget", "move", "imports")
"""What is counted of a plan, by the name of the field that holds it."""


class Counts:
    """What models with these fields can do."""

    def __add__(self, other: Self) -> Self:
        """What two plans change together."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in COUNTED})

    def __str__(self) -> str:
        """As people read plans, what is rare in words: `+3 ~0 ±1 -0`, `+0 ~0 ±0 -0, 1 to forget`."""
        return counts_text({name: getattr(self, name) for name in COUNTED})


def counts_text(counts: dict[str, int]) -> str:
    """Counts by the names of their fields, as people read plans."""
    common = [f"{mark}{counts[name]}" for mark, name in zip("+~±-", COUNTED, strict=False)]
    rare = {"forget": "forget", "move": "move", "imports": "import"}
    words = [f"{counts[name]} to {verb}" for name, verb in rare.items() if counts[name]]
    return ", ".join([" ".join(common), *words])
