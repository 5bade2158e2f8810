"""Tests of a promise with kubernetes steps: plans and outputs from the manifests alone, no cluster in sight."""

from __future__ import annotations

import itertools

from bondstone.activities.kubernetes import KubernetesExecutor
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.activities.kubernetes.trial import UNKNOWN
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.policy.plan_secrets import masked_marks
from bondstone.store import Store

MANIFESTS = [
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hunter22"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
]
OUTPUTS = {
    "port": {"from": "Service/web", "path": "{.spec.ports[0].port}"},
    "address": {"from": "Service/web", "path": "{.spec.clusterIP}"},
    "key": {"from": "Secret/s", "path": "{.data.k}"},
}


async def test_a_trial_plans_applies_and_takes_down_without_a_cluster(tmp_path):
    settings = Settings(data=tmp_path)
    store = await Store.open(settings, create_keys=True)
    state = store.state(ServiceId(team="shop", name="web"), "app")
    executor, numbers = KubernetesExecutor(), itertools.count()

    def context(manifests):
        return StepContext(
            service=ServiceId(team="shop", name="web"), operation=1, step="app",
            section=KubernetesSection.model_validate({"manifests": manifests, "outputs": OUTPUTS}),
            bundle=tmp_path, revision_digest="d", state=state, settings=settings, attempt=f"a{next(numbers)}",
            heartbeat=lambda _: None, log=lambda _: None, trial=True,
        )  # fmt: skip

    async def run(planned, manifests=MANIFESTS):
        return await executor.apply(context(manifests), planned.artefact, planned.position)

    planned = await executor.plan(context(MANIFESTS))
    addresses = [change.address for change in planned.changes]
    assert addresses == ["v1/Namespace/shop", "v1/Secret/shop/s", "v1/Service/shop/web"]
    assert [item["data"] for item in masked_marks(planned.document)["manifests"] if "data" in item] == [
        {"k": "(secret)"}
    ]
    outputs = (await run(planned)).outputs
    values = {name: output.value for name, output in outputs.items()}
    assert values == {"port": 80, "address": UNKNOWN, "key": "hunter22"}
    assert outputs["key"].sensitive
    assert (await executor.plan(context(MANIFESTS))).empty
    fewer = [MANIFESTS[0], {**MANIFESTS[2], "spec": {"ports": [{"port": 81}]}}]
    planned = await executor.plan(context(fewer))
    result = [(change.action, change.type) for change in planned.changes]
    assert result == [("update", "Service"), ("delete", "Namespace")]
    await run(planned, fewer)
    planned = await executor.plan_destroy(context(fewer))
    assert [change.action for change in planned.changes] == ["delete", "delete"]
    await run(planned, fewer)
    assert (await executor.plan_destroy(context(fewer))).empty
