"""A worker to be killed: applies one stored plan as the executor does.

python ansible_victim.py ROOT POSITION
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ansible_kit import Bench

from bondstone.activities.ansible.section import AnsibleSection


async def main(root: str, position: str) -> None:
    section: dict[str, Any] = json.loads(await asyncio.to_thread((Path(root) / "section.json").read_text))
    hosts = SimpleNamespace(private_key="", known_hosts="", variables=lambda _index: {})
    bench = await Bench.open(Path(root), cast("Any", hosts))
    context = replace(
        bench.context(attempt="victim", inventory={"all": {}}), section=AnsibleSection.model_validate(section)
    )
    artefact = await asyncio.to_thread((Path(root) / "plan").read_bytes)
    await bench.executor.apply(context, artefact, int(position))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
