"""Charts with the shapes of public ones: an unchanged release is still, and what changes is what was planned."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from helm_kit import HELMS, Bench, helm

from bondstone.activities.clusters.merge_rules import NO_RULE, MergeRule, is_built_in, rules_of
from tools.chart_corpus import CHARTS, charts, look

pytestmark = pytest.mark.integration

STILL = {"wait": False, "atomic": False}


@pytest.mark.parametrize("tool", HELMS)
@pytest.mark.parametrize("chart", charts(CHARTS), ids=lambda chart: chart.name)
async def test_a_whole_life_is_as_with_plain_helm_and_an_unchanged_release_is_still(control_plane, chart, tool):
    # Beside plain Helm once: it is Helm that is compared there, and not its version.
    beside_helm = tool == HELMS[0]
    verdict = await look(chart, control_plane.kubeconfig, helm(tool), {}, beside_helm=beside_helm)
    assert (verdict.skipped, verdict.differences) == ("", ())
    assert verdict.objects > 0


@pytest.fixture
async def dns(control_plane, tmp_path) -> AsyncIterator[Bench]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    bench = await Bench.open(tmp_path, control_plane, name)
    files = {str(path.relative_to(CHARTS / "dns")): path.read_text() for path in (CHARTS / "dns").rglob("*.yaml")}
    (tmp_path / "bundle" / "dns" / "templates").mkdir(parents=True)
    for file, text in files.items():
        (tmp_path / "bundle" / "dns" / file).write_text(text)
    yield bench
    await bench.destroy(options={**STILL, "chart": "dns"})
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


async def test_one_port_for_two_protocols_lives_its_whole_life(dns):
    options = {**STILL, "chart": "dns"}
    await dns.provision(options=options)
    service = "/api/v1/namespaces/{ns}/services/orders-web"
    ports = dns.get(service)["spec"]["ports"]
    assert [(port["port"], port["protocol"]) for port in ports] == [(53, "UDP"), (53, "TCP")]
    planned = await dns.plan(options=options, tier="two", replicas=1, note="🎉")
    assert {change.type for change in planned.changes} == {"Service", "Deployment"}
    await dns.apply(planned, options=options, tier="two", replicas=1, note="🎉")
    assert dns.get(service)["metadata"]["labels"]["tier"] == "two"
    assert dns.get(service)["spec"]["ports"] == ports
    dns.patch(service, {"metadata": {"labels": {"tier": "by-hand"}}})
    [drifted] = await dns.drift(options=options)
    assert drifted.after["metadata"]["labels"] == {"tier": "by-hand"}
    repair = await dns.plan(options=options, tier="two", replicas=1)
    assert [change.type for change in repair.changes] == ["Service"]
    await dns.apply(repair, options=options, tier="two", replicas=1)
    back = await dns.plan(options=options)
    await dns.apply(back, options=options)
    assert (await dns.plan(options=options)).empty
    assert await dns.drift(options=options) == []


def test_the_rules_of_merging_are_those_of_the_api_server(control_plane):
    observed, differences = 0, {}

    def document(path: str) -> Any:
        answer = control_plane.call("GET", path)
        return json.loads(answer) if isinstance(answer, str) else answer  # its index is called plain text

    for path in document("/openapi/v3")["paths"]:
        _, _, version = path.partition("/")
        if "/" not in version and version != "v1":
            continue
        schemas = document(f"/openapi/v3/{path}").get("components", {}).get("schemas", {})
        for schema in schemas.values():
            kinds = schema.get("x-kubernetes-group-version-kind") or ()
            for kind in [kinds] if isinstance(kinds, Mapping) else kinds:
                api_version = "/".join(filter(None, (kind["group"], kind["version"])))
                if (
                    not is_built_in(api_version)
                    or kind["kind"].endswith("List")
                    or "metadata" not in schema.get("properties", ())
                ):
                    continue
                observed += 1
                rules = rules_of({"apiVersion": api_version, "kind": kind["kind"]})
                differences |= dict(_differences(rules, schema, schemas, kind["kind"]))
    assert sorted(differences) == []
    assert observed > 50


def _differences(
    rules: Mapping[str, MergeRule], schema: Mapping[str, Any], schemas: Mapping[str, Any], at: str, depth: int = 0
) -> Iterator[tuple[str, object]]:
    """Where the table says otherwise than the API server; of definitions, which contain themselves, the top."""
    for name, field in (schema.get("properties") or {}).items():
        if name in {"status", "openAPIV3Schema", "managedFields"} or depth > 12:
            continue
        rule = rules.get(name, NO_RULE)
        words = {word for word in field.get("x-kubernetes-patch-strategy", "").split(",") if word}
        key = field.get("x-kubernetes-patch-merge-key", "")
        mine = ({rule.strategy} if rule.strategy else set()) | ({"retainKeys"} if rule.retain else set())
        if (words, key) != (mine, rule.key):
            yield f"{at}.{name}", (words, key, rule)
        if "items" in field and "merge" not in words:
            continue  # as a whole, whatever is in it
        target = field.get("items", field)
        reference = next((item["$ref"] for item in [target, *target.get("allOf", ())] if "$ref" in item), "")
        below = schemas.get(reference.rpartition("/")[2], {})
        yield from _differences(rule.below, below, schemas, f"{at}.{name}", depth + 1)
