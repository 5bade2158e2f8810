#!/usr/bin/env python3
"""Send to and receive from the queue this file lies in.

client send < message     put one message in; refused beyond the quotas
client receive            print the oldest message; it is gone when that worked
client count              how many wait
"""

import json
import sys
import time
import uuid
from pathlib import Path

QUEUE = Path(__file__).resolve().parent
QUOTAS = json.loads((QUEUE / "quotas.json").read_text(encoding="utf-8"))


def main():
    actions = {"send": send, "receive": receive, "count": lambda: print(len(waiting()))}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]]()


def waiting():
    """Messages (`<time>-<id>.<deliveries>`), oldest first; those past their retention are dropped."""
    oldest = time.time_ns() - QUOTAS["retention_seconds"] * 1_000_000_000
    found = []
    for message in sorted((QUEUE / "new").iterdir()):
        if int(message.name.split("-")[0]) < oldest:
            message.unlink(missing_ok=True)
        else:
            found.append(message)
    return found


def send():
    data = sys.stdin.buffer.read(QUOTAS["max_message_bytes"] + 1)
    if len(data) > QUOTAS["max_message_bytes"]:
        sys.exit(f"refused: a message may have {QUOTAS['max_message_bytes']} bytes")
    if len(waiting()) >= QUOTAS["max_messages"]:
        sys.exit(f"refused: {QUOTAS['max_messages']} messages are waiting")
    name = f"{time.time_ns():020}-{uuid.uuid4().hex}.0"
    (QUEUE / "tmp" / name).write_bytes(data)
    (QUEUE / "tmp" / name).rename(QUEUE / "new" / name)


def receive():
    for message in waiting():
        taken = QUEUE / "taken" / message.name
        try:
            message.rename(taken)
        except FileNotFoundError:
            continue  # somebody else was faster
        try:
            sys.stdout.buffer.write(taken.read_bytes())
            sys.stdout.buffer.flush()
        except BaseException:
            give_back(taken)
            raise
        taken.unlink()
        return
    sys.exit("the queue is empty")


def give_back(taken):
    """Into the queue again, or among the dead letters when it came back too often."""
    name, deliveries = taken.name.rsplit(".", 1)
    count, dead = int(deliveries) + 1, QUEUE / "dead-letters"
    if count < QUOTAS["max_deliveries"]:
        taken.rename(QUEUE / "new" / f"{name}.{count}")
    elif dead.is_dir():
        taken.rename(dead / taken.name)
    else:
        taken.unlink()


if __name__ == "__main__":
    main()
