"""`bond campaign preview --plan`: the dry runs of all targets, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bondstone.terminal.output import note, progress, say, table

if TYPE_CHECKING:
    from bondstone.client.documents.campaign_plan import PlannedTarget, PlansDocument

SHOWN: Final = 20


@contextmanager
def shown(*, plan: bool) -> Iterator[Callable[[PlannedTarget, int, int], None] | None]:
    """Show how many targets are planned; what `Campaigns.preview` takes as `on_target`."""
    if not plan:
        yield None
        return
    with progress("planning the targets") as update:
        yield lambda _target, done, total: update(f"planned {done} of {total} targets")


def show(plans: PlansDocument, *, file: str, every: bool) -> None:
    """The plans for people: those that destroy, are denied or ask first."""
    say()
    worst = sorted(
        plans.targets, key=lambda target: (target.error is None, not target.asks, -target.destroys, target.service)
    )
    shown = worst if every else worst[:SHOWN]
    table(
        ["target", "wave", "changes", "destroys", "policies", ""],
        [
            [
                target.service,
                target.wave,
                str(target.changes),
                target.destroys or "",
                _policies(target),
                _end(target),
            ]
            for target in shown
        ],
    )
    if len(shown) < len(worst):
        note(f"and {len(worst) - len(shown)} more; --all names them")
    say()
    say(
        f"{len(plans.targets)} planned: {plans.changes}, {plans.destroys} destroyed, {plans.denied} denied, "
        f"{plans.failed} without a plan"
    )
    say(f"{plans.asks} target{'' if plans.asks == 1 else 's'} will ask for an approval")
    say(f"preview sha256:{plans.digest}")
    note(f"keep to it with `bond campaign run -f {file} --pinned {plans.digest[:12]}`")


def _policies(target: PlannedTarget) -> str:
    return "; ".join(dict.fromkeys(text for step in target.steps for text in step.policies))


def _end(target: PlannedTarget) -> str:
    if target.error is not None:
        return target.error.message
    return "would ask" if target.asks else ""
