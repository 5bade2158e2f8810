"""A folder of Grafana, as a container step: it keeps the contract of docs/reference/container.md."""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

BOND = Path(os.environ.get("BOND_DIRECTORY", "/bond"))
STALE, LATER = 3, 75


def main():
    step = json.loads((BOND / "input" / "step.json").read_text())
    inputs = step["inputs"]
    live = read(inputs)
    action = os.environ["BOND_ACTION"]
    if action == "plan":
        write("plan.json", {"changes": changes(inputs, live, None if step["destroy"] else inputs["title"])})
    elif action == "drift":
        # `inputs` are those of the last apply: what is there has to have their title.
        was, title = {"title": inputs["title"]}, title_of(live)
        differs = title != inputs["title"]
        kind = "delete" if title is None else "update"
        after = None if title is None else {"title": title}
        write("plan.json", {"changes": [change(inputs, kind, was, after)] if differs else []})
    else:
        wanted = None if action == "destroy" else inputs["title"]
        planned = (step.get("plan") or {}).get("changes")
        now = changes(inputs, live, wanted)
        if planned is not None and now and effects(now) != effects(planned):
            sys.exit(STALE)
        change_folder(inputs, live, wanted)
        if wanted is not None:
            write("outputs.json", {"url": f"{inputs['grafana']}/dashboards/f/{inputs['uid']}"})


def changes(inputs, live, wanted):
    title = title_of(live)
    if title == wanted:
        return []
    kind = "create" if title is None else "delete" if wanted is None else "update"
    before = None if title is None else {"title": title}
    return [change(inputs, kind, before, None if wanted is None else {"title": wanted})]


def effects(listed):
    """What changes do: in `step.json` they have more fields than were written to `plan.json`."""
    return [tuple(each.get(key) for key in ("address", "action", "before", "after")) for each in listed]


def change(inputs, action, before, after):
    made = {"address": f"folder/{inputs['uid']}", "action": action, "type": "grafana_folder"}
    return made | {key: value for key, value in (("before", before), ("after", after)) if value is not None}


def title_of(live):
    return live and live["title"]


def read(inputs):
    return call(inputs, "GET", f"/api/folders/{inputs['uid']}")


def change_folder(inputs, live, wanted):
    path = f"/api/folders/{inputs['uid']}"
    if wanted is None:
        if live:
            call(inputs, "DELETE", path)
    elif live is None:
        call(inputs, "POST", "/api/folders", {"uid": inputs["uid"], "title": wanted})
    elif live["title"] != wanted:
        call(inputs, "PUT", path, {"title": wanted, "version": live["version"]})


def call(inputs, method, path, body=None):
    """The answer; None when there is no such folder."""
    # The promise lets only addresses of HTTP in.
    request = urllib.request.Request(inputs["grafana"] + path, method=method)  # noqa: S310
    token = (BOND / "input" / "files" / "token").read_text().strip()
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    try:
        data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(request, data, timeout=30) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        if error.code == 412:
            sys.exit(STALE)  # somebody changed it since it was read
        if error.code >= 500:
            sys.exit(LATER)
        write(
            "error.json", {"message": f"Grafana refused {method} {path}: {error.code}", "hint": "check the token"}
        )
        sys.exit(1)
    except OSError:
        sys.exit(LATER)


def write(name, document):
    (BOND / "output" / name).write_text(json.dumps(document))


main()
