"""The page of every error code: from `bondstone/base/errors.py`."""

from __future__ import annotations

from bondstone.base.errors import BY_CODE
from tools.docstrings import cell

PAGE = "docs/reference/errors.md"

HEAD = """# Error codes

Everything Bondstone refuses or fails at has a stable code. `bond` prints it on standard error:

```
error[CODE]: what went wrong and why
  where: the thing it happened to
  - single findings, when there are several
  hint: what to do next
```

With `-o json` the same is one object: `{"error": {"code", "message", "where", "hint"}}`, and `problems` when there are
several findings. In Temporal the code is the *type* of the failure, and the whole error is its first detail. The
Python client raises the class of that code. The HTTP API answers with problem details (RFC 9457), whose `type` is the
code as a URI: `tag:bondstone.dev,2026:errors#NOT_FOUND`, which is the anchor `#NOT_FOUND` of this page. A tag is the
same on every platform, also on one without internet: compare it, or `code`, as a string, and do not fetch it.

Only *transient* errors are retried by the platform itself; so is a fenced attempt (`FENCED`), because the next one
reads the state anew. What to do about each: [when things fail](../how-to/when-things-fail.md).

| code | class | is a | exit | HTTP | transient | what it means |
|---|---|---|---|---|---|---|
"""

TAIL = """
## Exit codes of `bond`

| exit | meaning |
|---|---|
| 0 | done |
| 1 | the operation failed, or an unexpected error happened (the traceback is in a file that the message names) |
| 2 | wrong usage or invalid input |
| 3 | not found |
| 4 | refused: by policy, by people, by a conflict, or not allowed now |
| 5 | waiting for an approval (with `--wait`, and `bond operation wait`) |
| 6 | the platform or its store does not answer |
| 130 | interrupted by Ctrl-C |

The HTTP status is what the HTTP API answers with.
"""


def text() -> str:
    """The whole page."""
    rows = []
    for code, kind in BY_CODE.items():
        base = kind.__mro__[1]
        parent = f"`{getattr(base, 'code', '')}`" if hasattr(base, "code") else ""
        transient = "yes" if kind.transient else ""
        meaning = cell((kind.__doc__ or "").split("\n\n")[0])
        rows.append(
            f'| <a id="{code}"></a>`{code}` | `{kind.__name__}` | {parent} | {kind.exit_code} | {kind.http_status} '
            f"| {transient} | {meaning} |\n"
        )
    return HEAD + "".join(rows) + TAIL
