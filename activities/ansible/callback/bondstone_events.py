"""A stdout plugin of Ansible that writes what happens as JSON, one event a line.

Runs inside `ansible-playbook`, with whatever Python that has, and imports nothing of Bondstone. Ansible itself
takes out of results what a task's `no_log` covers, before a plugin sees them.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from ansible import constants as C  # noqa: N812 - as Ansible's own plugins call it
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: bondstone_events
type: stdout
short_description: events as JSON, one a line
description: Writes each result of a task as one line of JSON.
"""

MAX_TEXT = 8192
"""Longest text of a result that is passed on, in characters."""


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    """Writes the events. Its methods are those that Ansible calls."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bondstone_events"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """The playbook begins."""
        del playbook
        _share_modules()
        _collect_less_garbage()
        _say(event="start", version=__version__)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play begins."""
        _say(event="play", name=play.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task went well."""
        _say(**_result(result, "changed" if result._result.get("changed") else "ok"))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        _say(**_result(result, "failed"), ignored=bool(ignore_errors))

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was not run."""
        _say(**_result(result, "skipped"))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        _say(**_result(result, "unreachable"))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The playbook has ended."""
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        _say(event="stats", hosts=hosts, statistics=dict(stats.custom.get("_run", {})))


def _share_modules() -> None:
    """Let the runs of one attempt pack each module once: Ansible forgets what it has packed when a run ends."""
    shared = os.environ.get("BONDSTONE_MODULES")
    if shared:
        with suppress(OSError):
            Path(C.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(shared)


def _collect_less_garbage() -> None:
    """Let the collector leave alone what is loaded: the workers are forks of this process, and end soon."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event, default=str, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _result(result: Any, status: str) -> dict[str, Any]:
    task, returned = result._task, result._result
    items = [item for item in returned.get("results", ()) if isinstance(item, dict)] or [returned]
    return {
        "event": "result",
        "host": result._host.get_name(),
        "task": task.get_name().strip(),
        "module": str(getattr(task, "resolved_action", None) or task.action),
        "status": status,
        "checking": bool(context.CLIARGS.get("check")),
        "unpredicted": any(_is_unpredicted(task, item, status) for item in items),
        "background": bool(task.async_val),
        "hidden": "censored" in returned or any(item.get("_ansible_no_log") for item in items),
        "message": _message(returned, items),
        "diff": [_diff(part) for item in items for part in _parts(item.get("diff"))],
        "place": PurePath(task.get_path() or "").name,
    }


def _is_unpredicted(task: Any, item: dict[str, Any], status: str) -> bool:
    """Whether check mode has only skipped over it, or says no more than that it would run."""
    skipped = status == "skipped" or bool(item.get("skipped"))
    if "check mode" in str(item.get("msg", "")).lower():
        return skipped or bool(item.get("changed"))
    is_raw = str(task.action).rpartition(".")[2] == "raw"
    return is_raw and skipped and not {"skip_reason", "false_condition"} & item.keys()


def _message(returned: dict[str, Any], items: list[dict[str, Any]]) -> str:
    texts = [returned.get("msg"), *(item.get("msg") for item in items if item.get("failed"))]
    texts += [returned.get(name) for name in ("module_stderr", "stderr", "module_stdout")]
    words = "; ".join(
        str(text) for text in dict.fromkeys(text for text in texts if isinstance(text, str) and text)
    )
    return words[:MAX_TEXT]


def _parts(diff: Any) -> list[dict[str, Any]]:
    if isinstance(diff, dict):
        return [diff]
    return [part for part in diff or () if isinstance(part, dict)]


def _diff(part: dict[str, Any]) -> dict[str, Any]:
    new = part.get("after", part.get("prepared"))
    name = part.get("after_header") or part.get("before_header") or ""
    return {
        "name": str(name).partition(" (")[0],
        "before": _cut(part.get("before")),
        "after": _cut(new),
        "digest": hashlib.sha256(json.dumps(new, default=str, sort_keys=True).encode()).hexdigest(),
    }


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + " (cut)"
    if isinstance(value, dict) and len(json.dumps(value, default=str)) > MAX_TEXT:
        return {"(cut)": f"{len(value)} fields"}
    return value
