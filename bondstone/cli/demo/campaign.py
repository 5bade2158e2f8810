"""`bond demo --campaign`: a hole in a library, a fleet to patch, a patch that does not fit all, and a fix."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bondstone.cli import context
from bondstone.cli.demo import stage
from bondstone.terminal.output import OutputFormat, note, progress, say
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.campaign import CampaignDocument

SERVICES: Final = 40
CANARIES: Final = 3
AT_ONCE: Final = 4
TEAMS: Final = ("billing", "search", "mail", "maps")
PROMISE: Final = "web-server"
LEGACY: Final = 17
"""Number of the service that still speaks the old protocol."""

_PROMISE: Final = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: web-server, version: {version}, title: A web server, owner: platform}}
spec:
  description: For the tour of campaigns; it consists of entries in a Terraform state and nothing else.
  inputs:
    type: object
    additionalProperties: false
    properties:
      protocol: {{type: string, enum: [tls12, tls13], default: tls13, title: Oldest protocol of its clients}}
  outputs:
    library: {{value: "${{steps.server.outputs.library}}"}}
  steps:
    - id: server
      terraform:
        module: terraform/server
        variables: {{protocol: "${{inputs.protocol}}"}}
"""

_MODULE: Final = """\
variable "protocol" {{ type = string }}

resource "terraform_data" "library" {{
  input = "{library}"
}}

resource "terraform_data" "server" {{
  input = "listens with ${{terraform_data.library.output}} from ${{var.protocol}} on"{precondition}
}}

output "library" {{ value = terraform_data.library.output }}
"""

_PRECONDITION: Final = """

  lifecycle {
    precondition {
      condition     = var.protocol != "tls12"
      error_message = "openssl 3.0.8 has no tls12, and clients of this server need it"
    }
  }"""

_CAMPAIGN: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, owner: platform, reason: "CVE-2026-1234 in openssl", change: CHG-4711}}
spec:
  operation: patch
  promise: web-server
  to: latest-patch
  select: {{where: "labels.tour == '{tour}'"}}
  waves:
    - {{name: canary, where: "labels.ring == 'canary'", max_failures: 0, soak: 2s}}
    - {{name: rest, rest: true}}
  max_concurrent: {at_once}
  budget: {{max_failures: 0}}
  on_failure: pause
"""


async def tour(data: Path) -> int:
    """All that happens on the platform; how many services are not patched at its end."""
    from bondstone.client import connect  # noqa: PLC0415 - see bondstone.cli.session

    async with connect(context.settings(), by=context.actor()) as bond:
        number = await _number(bond)
        name = "cve-2026-1234" if number == 1 else f"cve-2026-1234-{number}"
        versions = [f"1.{number - 1}.{patch}" for patch in range(3)]
        await _provision(bond, number, versions[0])
        await _patch_published(bond, versions[1])
        broken = await _campaign(bond, data, name, number)
        await _fix_published(bond, versions[2], broken)
        ended = await _retried(bond, data, name)
        await _reported(bond, data, name, ended)
        return await _unpatched(bond, number, versions[0])


# The stops of the tour --------------------------------------------------------------------------------------


async def _provision(bond: Bondstone, number: int, version: str) -> None:
    stage.heading("A fleet", f"{SERVICES} web servers of {len(TEAMS)} teams, with openssl 3.0.7")
    await _publish(bond, version, "openssl 3.0.7")
    began = time.monotonic()
    operations = [await _request(bond, number, index) for index in range(SERVICES)]
    with progress(f"{SERVICES} services: plan, policies, apply, ledger"):
        records = await asyncio.gather(*(operation.wait() for operation in operations))
    ready = sum(record.status == "succeeded" for record in records)
    say(f"  {ready} of {SERVICES} ready at {version} after {_since(began)}")
    for record in records:
        if record.error is not None:
            stage.error(f"{record.id}: {record.error.message}")


async def _patch_published(bond: Bondstone, version: str) -> None:
    stage.heading("A hole", "CVE-2026-1234: openssl before 3.0.8; the platform team publishes a patched revision")
    await _publish(bond, version, "openssl 3.0.8", breaks=True)
    say(f"  {PROMISE}@{version} is published")


async def _campaign(bond: Bondstone, data: Path, name: str, number: int) -> CampaignDocument:
    from bondstone.cli.campaign import views, watching  # noqa: PLC0415 - see bondstone.cli.session

    file = data / f"{name}.yaml"
    file.write_text(_CAMPAIGN.format(name=name, tour=f"tour-{number}", at_once=AT_ONCE), encoding="utf-8")
    stage.heading("A campaign", f"{CANARIES} canaries first; the first failure stops it")
    stage.shell(data, f"campaign preview -f {file.name}")
    views.preview(await bond.campaigns.preview(file.read_bytes(), file.name), every=False)
    say()
    stage.shell(data, f"campaign run -f {file.name} --wait")
    await bond.campaigns.run(file.read_bytes(), file.name)
    document = await watching.wait_for(bond, name, OutputFormat.TABLE)
    views.outcome(document)
    return document


async def _fix_published(bond: Bondstone, version: str, broken: CampaignDocument) -> None:
    behind = ", ".join(failure.service for failure in broken.failures)
    stage.heading("A fix", f"{behind} serves old clients, which the patch forgot; nothing else was started")
    await _publish(bond, version, "openssl 3.0.8")
    say(f"  {PROMISE}@{version} is published")


async def _retried(bond: Bondstone, data: Path, name: str) -> CampaignDocument:
    from bondstone.cli.campaign import views, watching  # noqa: PLC0415 - see bondstone.cli.session

    stage.heading(
        "Again", "the campaign ends, and a linked one retries what failed, and runs what was not started"
    )
    stage.shell(data, f"campaign abort {name} --reason 'the patch needed a fix'")
    await bond.campaigns.abort(name, reason="the patch needed a fix")
    await bond.campaigns.wait(name, through_approvals=True)
    stage.shell(data, f"campaign retry {name} --all --reason 'with the fix'")
    linked = await bond.campaigns.retry(name, "all", reason="with the fix")
    document = await watching.wait_for(bond, linked.name, OutputFormat.TABLE)
    views.outcome(document)
    views.waves(document)
    return document


async def _reported(bond: Bondstone, data: Path, name: str, ended: CampaignDocument) -> None:
    from bondstone.campaign.report.page import as_html  # noqa: PLC0415 - see bondstone.cli.session

    stage.heading("A report", "who, what and why; and the outcome of each target, with its evidence")
    for campaign in (name, ended.name):
        report = await bond.campaigns.report(campaign)
        file = data / f"{campaign}.html"
        stage.shell(data, f"campaign report {campaign} -o html --to {file.name}")
        file.write_text(as_html(report), encoding="utf-8")
        say(f"  {file.as_uri()}")


async def _unpatched(bond: Bondstone, number: int, vulnerable: str) -> int:
    rows = await bond.services.list(promise=PROMISE, labels={"tour": f"tour-{number}"})
    behind = [row for row in rows if row.revision.endswith(f"@{vulnerable}")]
    say()
    say(f"{SERVICES - len(behind)} of {SERVICES} services are patched.")
    if behind:
        note("not patched: " + ", ".join(row.id for row in behind))
    return len(behind)


# Helpers ----------------------------------------------------------------------------------------------------


async def _publish(bond: Bondstone, version: str, library: str, *, breaks: bool = False) -> None:
    with tempfile.TemporaryDirectory() as directory:
        module = Path(directory) / "terraform" / "server"
        module.mkdir(parents=True)
        (Path(directory) / "promise.yaml").write_text(_PROMISE.format(version=version), encoding="utf-8")
        text = _MODULE.format(library=library, precondition=_PRECONDITION if breaks else "")
        (module / "main.tf").write_text(text, encoding="utf-8")
        await bond.promises.publish(Path(directory))


async def _request(bond: Bondstone, number: int, index: int) -> Operation:
    team = TEAMS[index % len(TEAMS)]
    tour = "" if number == 1 else f"-{number}"
    inputs = {"protocol": "tls12"} if index == LEGACY else {}
    ring = "canary" if index < CANARIES else "rest"
    labels = {"environment": "staging", "ring": ring, "tour": f"tour-{number}"}
    service = f"{team}/web{tour}-{index + 1:02}"
    return await bond.services.request(PROMISE, service, inputs, labels=labels, reason="the tour of campaigns")


async def _number(bond: Bondstone) -> int:
    """Which tour on this platform this is: names of campaigns are never used twice."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    number = 1
    while True:
        try:
            await bond.campaigns.get("cve-2026-1234" if number == 1 else f"cve-2026-1234-{number}")
        except NotFound:
            return number
        number += 1


def _since(began: float) -> str:
    return duration(timedelta(seconds=time.monotonic() - began))
