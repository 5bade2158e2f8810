"""Makes, configures and removes one queue. Told what to do by its environment; safe to run again."""

import json
import os
import shutil
import sys
from pathlib import Path

MARK = ".bondstone.json"
QUOTAS = ("max_messages", "max_message_bytes", "retention_seconds", "max_deliveries")


def main():
    wanted = json.loads(os.environ["QUEUE"])
    actions = {"create": create, "configure": configure, "remove": remove}
    actions[os.environ["ACTION"]](Path(wanted["directory"]), wanted)


def create(directory, wanted):
    """The directories, marked as ours."""
    identity = {"team": wanted["team"], "name": wanted["name"], "promise": "queue"}
    if directory.exists() and read_mark(directory) != identity and any(directory.iterdir()):
        sys.exit(f"{directory} exists and is not this service's; move it away or choose another name")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / MARK).write_text(json.dumps(identity), encoding="utf-8")
    for part in ("new", "taken", "tmp"):
        (directory / part).mkdir(mode=0o700, exist_ok=True)


def configure(directory, wanted):
    """The quotas, and the client that keeps them; each takes the place of the old one at once."""
    quotas = json.dumps({name: wanted[name] for name in QUOTAS}, indent=2) + "\n"
    client = Path(__file__).with_name("client.py").read_text(encoding="utf-8")
    for name, text, mode in (("quotas.json", quotas, 0o600), ("client", client, 0o700)):
        fresh = directory / "tmp" / name
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(mode)
        fresh.replace(directory / name)


def remove(directory, wanted):
    """Everything, but only where the mark says that it is this service's."""
    if not directory.exists():
        return
    mark = read_mark(directory)
    if mark is None or (mark["team"], mark["name"]) != (wanted["team"], wanted["name"]):
        sys.exit(f"{directory} is not this service's; it is left alone")
    shutil.rmtree(directory)


def read_mark(directory):
    try:
        return json.loads((directory / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    main()
