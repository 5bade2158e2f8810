"""From what Terraform complained about to a typed error: what, where, why and what to do next. Pure."""

from __future__ import annotations

import platform
import posixpath
import re
import sys
from collections.abc import Sequence

from bondstone.activities.terraform.stream import Diagnostic
from bondstone.base.errors import BondError, PlanStale, Problem, ToolFailed, ToolUnavailable
from bondstone.base.printable import shorten

_DETAIL_LIMIT = 1500
_COMMAND_LIMIT = 200
_WORDS_LIMIT = 400
_PROBLEMS_LIMIT = 20

_TRANSIENT = re.compile(
    r"""
      \b(?:429|500|502|503|504)\b[^\n]{0,20}(?:too\ many|internal\ server|bad\ gateway|unavailable|gateway\ time)
    | (?:status(?:\ code)?|StatusCode|HTTP(?:/[\d.]+)?|response)\W{1,3}(?:429|500|502|503|504)\b
    | too\ many\ requests | rate\ ?(?:limit|exceeded) | throttl(?:ing|ed) | RequestLimitExceeded | SlowDown
    | connection\ (?:reset|refused|timed\ out) | broken\ pipe | i/o\ timeout | TLS\ handshake\ timeout
    | Client\.Timeout\ exceeded | context\ deadline\ exceeded | unexpected\ EOF
    | temporary\ failure\ in\ name\ resolution | server\ misbehaving
    | no\ route\ to\ host | network\ is\ unreachable
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CONDITIONS = re.compile(
    r"^(?:Resource (?:pre|post)condition failed|Module output value precondition failed"
    r"|(?:Check block|Test) assertion failed|Invalid value for (?:input )?variable)$"
)
"""Summaries whose detail is the words of the module's author."""
_MODULES_OWN = re.compile(
    _CONDITIONS.pattern + r"|provisioner error$|^External Program|function argument$|in function call$"
    r"|^Provider produced in|^Invalid (?:index|template|expression|operand)|^Unsupported "
)
_FETCHING = re.compile(r"download|install|query|registry|retriev|remote module", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"\n]*\s[^\"\n]*\"|'[^'\n]*\s[^'\n]*'")
_COMMAND = re.compile(r"^(Error running command ')(.*)(': (?:exit status|signal)\b.*)$", re.DOTALL)
_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_STALE = re.compile(r"saved plan is stale|plan files cannot be transferred between different", re.IGNORECASE)
_PROVIDERS_GONE = re.compile(
    r"required plugins are not installed|module not installed|backend initialization required"
    r"|there is no package for .* cached in",
    re.IGNORECASE,
)
_LOCKED = re.compile(r"error acquiring the state lock|error locking state", re.IGNORECASE)
_LOCK_DIFFERS = re.compile(
    r"inconsistent dependency lock file|provider dependency changes detected"
    r"|does(?:n't| not) match any of the checksums|checksums? .{0,40}dependency lock file",
    re.IGNORECASE,
)
_PROTECTED = re.compile(r"\bprevent_destroy\b")
_OTHER_VERSION = re.compile(r"unsupported (?:terraform|opentofu) core version", re.IGNORECASE)
_PROVIDER_BROKEN = re.compile(
    r"failed to (?:load plugin schemas|obtain provider schema|instantiate provider)", re.IGNORECASE
)
_NEWER_STATE = re.compile(
    r"state snapshot was created by (?:Terraform|OpenTofu) \S+,?\s+which is newer", re.IGNORECASE
)

_OF_MACHINE = (_OTHER_VERSION, _LOCK_DIFFERS, _DISK, _PROVIDER_BROKEN)
_PLATFORM = (
    f"{sys.platform}_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }"
)

_UNAVAILABLE = (
    (_DISK, "the worker's disk is full: free space in its work directory"),
    (_PROVIDERS_GONE, "the worker prepares the module again on the next try"),
    (
        _LOCKED,
        "somebody holds the lock of the module's backend; `terraform force-unlock` breaks one that nobody holds",
    ),
)
"""What will pass, each with what to do meanwhile."""


def to_error(
    errors: Sequence[Diagnostic],
    *,
    verb: str,
    module: str,
    code: int,
    complaint: str = "",
    where: str = "",
    otherwise: str = "",
) -> BondError:
    """The typed error for a run that failed.

    Args:
        errors: Its diagnostics of severity error.
        verb: What was run: `plan`, `apply`, `init`.
        module: Path of the module in the promise, for the places of the problems.
        code: Exit code; negative for the signal that killed it.
        complaint: The end of its standard error, used when there are no diagnostics.
        where: The service and step.
        otherwise: The hint where there is no better one.
    """
    problems = [to_problem(item, module) for item in errors[:_PROBLEMS_LIMIT]]
    texts = [f"{item.summary}\n{item.detail}" for item in errors] or [
        complaint[-_DETAIL_LIMIT:].strip() or "it said nothing"
    ]
    whole = "\n".join(texts)
    about = next((item.address for item in errors if item.address), "")
    place = f"{where} {about}".strip()
    first = _headline(errors[0]) if errors else texts[0]
    message = f"terraform {verb} failed: {first}"
    if code < 0:
        return ToolUnavailable(
            f"terraform {verb} was killed by signal {-code}",
            where=place,
            problems=problems,
            hint="if nobody killed it, the worker may be out of memory: see the kernel's log",
        )
    if any(_is_modules_own(item) for item in errors):
        return ToolFailed(message, where=place, problems=problems, hint=_hint(whole, module) or otherwise)
    if _STALE.search(whole):
        return PlanStale(
            f"the saved plan can no longer be applied: {first}", where=place, problems=problems, hint="plan again"
        )
    for pattern, hint in _UNAVAILABLE:
        if pattern.search(whole):
            return ToolUnavailable(message, where=place, problems=problems, hint=hint)
    if all(_TRANSIENT.search(_QUOTED.sub("", text)) for text in texts):
        return ToolUnavailable(
            message, where=place, problems=problems, hint="it looks temporary, and will be tried again"
        )
    return ToolFailed(message, where=place, problems=problems, hint=_hint(whole, module) or otherwise)


def lost_providers(errors: Sequence[Diagnostic]) -> bool:
    """Whether the module was prepared, but what was prepared is gone."""
    return any(_PROVIDERS_GONE.search(f"{item.summary}\n{item.detail}") for item in errors)


def depends_on_machine(item: Diagnostic) -> bool:
    """Whether a complaint is about this machine and not the module: what it cannot fetch or run, its version."""
    whole = f"{item.summary}\n{item.detail}"
    return bool(_FETCHING.search(item.summary) or any(pattern.search(whole) for pattern in _OF_MACHINE))


def _is_modules_own(item: Diagnostic) -> bool:
    """Whether the module speaks, or Terraform of its text: what they say of limits and time-outs is no weather.

    A provider's complaint names a resource. One that names only a place in a file is about what stands there,
    unless something was to be fetched.
    """
    if _MODULES_OWN.search(item.summary):
        return True
    return bool(item.file) and not item.address and not _FETCHING.search(item.summary)


def _headline(item: Diagnostic) -> str:
    """What a complaint is about in a line; of a failed condition, the words of the module's author."""
    if _CONDITIONS.match(item.summary) and item.detail:
        return f"{item.summary}: {shorten(' '.join(item.detail.split()), _WORDS_LIMIT)}"
    return item.summary


def _hint(text: str, module: str) -> str:
    if _PROTECTED.search(text):
        return "publish a revision without prevent_destroy, patch, then decommission"
    if _OTHER_VERSION.search(text):
        return (
            "give the pool's workers a version that the module takes (BOND_TERRAFORM), or correct required_version"
        )
    if _NEWER_STATE.search(text):
        return "a newer Terraform wrote this state: give the pool's workers that version (BOND_TERRAFORM)"
    if _LOCK_DIFFERS.search(text):
        return (
            f"in {module}, run `terraform providers lock -platform={_PLATFORM}` for the workers' platform, "
            "and publish a version with the new .terraform.lock.hcl"
        )
    return ""


def to_problem(item: Diagnostic, module: str) -> Problem:
    """What Terraform complained about, with its place in the promise.

    Args:
        item: The complaint.
        module: Path of the module in the promise.
    """
    detail = _COMMAND.sub(lambda match: match[1] + shorten(match[2], _COMMAND_LIMIT) + match[3], item.detail)
    text = item.summary if not detail else f"{item.summary}: {detail}"
    if item.address:
        text = f"{item.address}: {text}"
    text = shorten(text, _DETAIL_LIMIT, pointer="the step's log has them")
    file = posixpath.normpath(posixpath.join(module, item.file)) if item.file else ""
    return Problem(message=text, file=file, line=item.line, column=item.column)
