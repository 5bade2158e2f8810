"""`bond campaign preview --plan`: the dry runs of all targets, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bondstone.terminal.output import note, progress, say, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.campaigns.files import Ready
    from bondstone.client.documents.campaign import PreviewDocument
    from bondstone.client.documents.campaign_plan import PlannedTarget, PlansDocument
    from bondstone.model.campaign.preview import PreviewedTarget

SHOWN: Final = 20


async def planned(bond: Bondstone, ready: Ready, found: PreviewDocument, at_once: int) -> PreviewDocument:
    """The preview with a plan of every target."""
    from bondstone.client.campaigns.planned_previews import plan  # noqa: PLC0415
    from bondstone.client.documents.campaign_plan import PlansDocument  # noqa: PLC0415 - see bondstone.cli.session

    total = len(ready.plan.targets)
    with progress(f"planning {total} targets") as tell:

        def on_target(_: PreviewedTarget, done: int) -> None:
            tell(f"planned {done} of {total} targets")

        digest, preview = await plan(bond, ready, at_once=at_once, on_target=on_target)
    return found.changed(plans=PlansDocument.of(digest, preview))


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
        f"{len(plans.targets)} planned: {plans.changes}, {plans.destroys} destroyed, {plans.asks} would ask, "
        f"{plans.denied} denied, {plans.failed} without a plan"
    )
    say(f"preview sha256:{plans.digest}")
    note(f"keep to it with `bond campaign run -f {file} --pinned {plans.digest[:12]}`")


def _policies(target: PlannedTarget) -> str:
    return "; ".join(dict.fromkeys(text for step in target.steps for text in step.policies))


def _end(target: PlannedTarget) -> str:
    if target.error is not None:
        return target.error.message
    return "would ask" if target.asks else ""
