"""The verbs that change nothing: plan, plan to destroy, detect drift. All of them are check mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bondstone.activities.ansible.changes import (
    EFFECT,
    drifted_changes,
    expected,
    planned_changes,
    whole_hosts,
)
from bondstone.activities.ansible.documents import AnsiblePlan, PlaybookRecord, declared
from bondstone.activities.ansible.events import PlaybookTranscript
from bondstone.activities.ansible.session import PlaybookSession
from bondstone.executors.protocol import Drifted, Planned
from bondstone.model.plan import Change


async def plan(session: PlaybookSession) -> Planned:
    """Ask the hosts, by check mode, what the playbook would change."""
    position, record = await session.record()
    wanted = session.wanted()
    transcript, hosts = await _looked(session, wanted)
    changes = _changes(session, transcript, hosts)
    changes += whole_hosts(sorted(set(record.hosts) - set(hosts)), "forget")
    settled = record.run is not None and record.run.done and record.hosts == hosts
    same = (
        settled and record.declared == declared(session.section.outputs) and _unmoved(session, record, transcript)
    )
    return _planned(
        session, wanted.changed(hosts=hosts, empty=not changes and same), position, changes, transcript
    )


async def plan_destroy(session: PlaybookSession) -> Planned:
    """Ask what the playbook that takes things down would change; nothing is run where nothing was set up."""
    position, record = await session.record()
    wanted = session.wanted(destroy=True)
    if not record.hosts:
        return _planned(session, wanted.changed(empty=True), position, [])
    if not wanted.playbook:
        forgotten = whole_hosts(record.hosts, "forget")
        return _planned(session, wanted.changed(hosts=record.hosts), position, forgotten)
    transcript, hosts = await _looked(session, wanted)
    changes = _changes(session, transcript, hosts)
    return _planned(session, wanted.changed(hosts=hosts), position, changes, transcript)


async def detect_drift(session: PlaybookSession) -> Drifted:
    """What check mode would put right: no task of it may be one that it cannot predict."""
    _, record = await session.record()
    wanted = session.wanted()
    if not record.hosts:
        return Drifted(())
    if not wanted.checked:
        session.log("no drift check: the step says `check: skip`")
        return Drifted(())
    transcript = await session.play(wanted, "check")
    return Drifted(drifted_changes(transcript.results, session.context.redact))


async def _looked(
    session: PlaybookSession, wanted: AnsiblePlan
) -> tuple[PlaybookTranscript | None, tuple[str, ...]]:
    """What check mode says, and the hosts; without check mode, only the hosts."""
    if not wanted.checked:
        return None, await session.hosts_of(wanted)
    transcript = await session.play(wanted, "check")
    return transcript, transcript.names


def _changes(
    session: PlaybookSession, transcript: PlaybookTranscript | None, hosts: Sequence[str]
) -> list[Change]:
    if transcript is None:
        return whole_hosts(hosts)
    return planned_changes(transcript.results, session.context.redact)


def _unmoved(session: PlaybookSession, record: PlaybookRecord, transcript: PlaybookTranscript | None) -> bool:
    """Whether the outputs would stay as they are, as far as check mode knows them."""
    if transcript is None:
        return False
    now = transcript.statistics
    return all(now[name] == record.statistics.get(name) for name in session.section.outputs if name in now)


def _planned(
    session: PlaybookSession,
    wanted: AnsiblePlan,
    position: int,
    changes: list[Change],
    transcript: PlaybookTranscript | None = None,
) -> Planned:
    made = wanted.changed(expected=expected(changes))
    unpredicted = [change.address for change in changes if EFFECT in change.unknown]
    if unpredicted:
        session.log(
            f"the plan is partial: the effect of {len(unpredicted)} changes is unknown until they are made"
        )
    return Planned(
        artefact=made.pack(),
        document=_document(made, changes, unpredicted),
        changes=changes,
        empty=made.empty,
        position=position,
        tool=transcript.tool if transcript is not None else "Ansible",
    )


def _document(made: AnsiblePlan, changes: Sequence[Change], unpredicted: Sequence[str]) -> dict[str, Any]:
    """What policies see."""
    return {
        "format_version": "1.0",
        "playbook": made.playbook,
        "hosts": list(made.hosts),
        "tasks": [
            {
                "address": change.address,
                "host": change.address.partition("/")[0],
                "task": change.address.partition("/")[2],
                "module": change.type,
                "action": change.action,
                "before": change.before,
                "after": change.after,
                "predicted": EFFECT not in change.unknown,
            }
            for change in changes
        ],
        "partial": bool(unpredicted),
        "unpredicted": list(unpredicted),
        "errored": False,
    }
