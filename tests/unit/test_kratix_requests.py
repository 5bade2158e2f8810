"""A request of Kratix beside manifests of ours: which promise, which team, which inputs, or why none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.activities.kratix.scaffold import draft, platform_draft
from bondstone.base.errors import ManifestInvalid, NotFound
from bondstone.client.documents.promise import PromiseDocument, RequestKindDocument
from bondstone.client.documents.service import AppliedDocument, ServiceDocument
from bondstone.client.manifests import Comparison, compare, read_manifests
from bondstone.executors.scaffold import write_promise
from bondstone.promise.load import load_promise
from bondstone.promise.request_kinds import request_kinds

KRATIX = """\
apiVersion: platform.kratix.io/v1alpha1
kind: Promise
metadata: {name: cache}
spec:
  api:
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    spec:
      group: example.org
      names: {kind: Cache, plural: caches}
      scope: Namespaced
      versions:
        - name: v1
          storage: true
          schema:
            openAPIV3Schema:
              properties:
                spec:
                  type: object
                  required: [job-name]
                  properties:
                    size: {type: integer, minimum: 1}
                    job-name: {type: string}
                    net: {type: object, properties: {zones: {type: array, items: {type: string}}}}
  workflows:
    resource:
      configure: [{metadata: {name: make}, spec: {containers: [{name: it, image: "example.org/it:v1"}]}}]
    promise:
      configure: [{metadata: {name: install}, spec: {containers: [{name: it, image: "example.org/it:v1"}]}}]
"""
REQUEST = """\
# as somebody has it in a repository for Kratix
apiVersion: example.org/v1
kind: Cache
metadata:
  name: sessions
  namespace: shop
  labels: {app: cart}
  annotations: {example.org/note: kept, %s}
spec:
  size: 3
  job-name: nightly
  net: {zones: [a, b]}
"""


def promise(folder: Path, name: str = "cache", *, platform: bool = False) -> PromiseDocument:
    """As `bond promise init` makes one, and the platform shows it."""
    file = folder / "kratix.yaml"
    file.write_text(KRATIX)
    write_promise(folder / name, name, (platform_draft if platform else draft)(file))
    made = load_promise(folder / name)
    return PromiseDocument(
        promise=name, version="1.2.0", digest="", status="active", input_schema=made.spec.inputs,
        request_kinds=tuple(map(RequestKindDocument.of, request_kinds(made.spec.steps))),
    )  # fmt: skip


class Platform:
    """Promises and services as a client shows them."""

    def __init__(self, *promises: PromiseDocument, live: ServiceDocument | None = None) -> None:
        self.promises = SimpleNamespace(list=self._list, get=self._get)
        self.services = SimpleNamespace(get=self._live)
        self._known, self._service = promises, live

    async def _list(self) -> list[PromiseDocument]:
        return list(self._known)

    async def _get(self, name: str, version: str = "") -> PromiseDocument:
        for each in self._known:
            if each.promise == name and version in {"", each.version}:
                return each
        raise NotFound(f"there is no {name} {version}")

    async def _live(self, service: str) -> ServiceDocument:
        if self._service is None or self._service.id != service:
            raise NotFound("there is no such service")
        return self._service


async def compared(folder: Path, platform: Any, text: str) -> Comparison:
    requests = folder / "requests"
    requests.mkdir(exist_ok=True)
    (requests / "sessions.yaml").write_text(text)
    return await compare(platform, read_manifests([requests]))


async def problems(folder: Path, platform: Any, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ManifestInvalid) as refused:
        await compared(folder, platform, text)
    return [(each.line, each.message, each.hint) for each in refused.value.problems]


async def test_kind_namespace_and_spec_become_promise_team_and_inputs(tmp_path: Path) -> None:
    cache = promise(tmp_path)
    whole = promise(tmp_path, "cache-platform", platform=True)
    assert whole.request_kinds == (), "its object is the promise itself"
    platform = Platform(cache, whole)
    [service] = (await compared(tmp_path, platform, REQUEST % "")).services
    manifest = service.entry.manifest
    assert (service.action, service.id, manifest.spec.promise) == ("create", "shop/sessions", "cache")
    assert service.inputs == {"size": 3, "jobName": "nightly", "net": {"zones": ["a", "b"]}}
    assert (service.labels, manifest.spec.version) == ({"app": "cart"}, None)
    assert service.entry.document.place(("spec", "inputs", "jobName")).line == 11

    live = ServiceDocument(
        id="shop/sessions", team="shop", name="sessions", promise="cache", revision="cache@1.2.0", phase="ready",
        health="healthy", labels={"app": "cart"}, operations=(), links={}, outputs={}, was_ready=True,
        inputs=service.inputs, applied=AppliedDocument(inputs=service.inputs, labels={"app": "cart"}),
    )  # fmt: skip
    again = Platform(cache, live=live)
    assert (await compared(tmp_path, again, REQUEST % "")).services[0].action == "unchanged"
    [changed] = (await compared(tmp_path, again, (REQUEST % "").replace("size: 3", "size: 4"))).services
    assert (changed.action, changed.inputs) == ("change", {"size": 4})


async def test_an_unknown_kind_says_what_requests_are_taken_of(tmp_path: Path) -> None:
    platform = Platform(promise(tmp_path))
    older = (REQUEST % "").replace("example.org/v1", "example.org/v1beta1", 1)
    assert await problems(tmp_path, platform, older) == [
        (3, "no promise takes requests of example.org/v1beta1 Cache",
         "requests are taken of example.org/v1 Cache (promise cache)"),
    ]  # fmt: skip
    [(_, _, hint)] = await problems(tmp_path, Platform(), older)
    assert "bond promise init NAME --from kratix:FILE" in hint


async def test_of_several_promises_an_annotation_names_one(tmp_path: Path) -> None:
    platform = Platform(promise(tmp_path), promise(tmp_path, "cache-eu"))
    [(line, words, hint)] = await problems(tmp_path, platform, REQUEST % "")
    assert (line, words) == (3, "several promises take requests of example.org/v1 Cache: cache, cache-eu")
    assert hint == "name one in metadata.annotations: bondstone.dev/promise: cache"
    chosen = REQUEST % "bondstone.dev/promise: cache-eu, bondstone.dev/version: 1.2.0"
    [service] = (await compared(tmp_path, platform, chosen)).services
    assert (service.entry.manifest.spec.promise, service.applied.version) == ("cache-eu", "1.2.0")
    other = REQUEST % "bondstone.dev/promise: cach, bondstone.dev/versoin: 1"
    [(_, words, hint)] = await problems(tmp_path, platform, other)
    assert (words, hint) == (
        "the promise cach takes no requests of example.org/v1 Cache", "did you mean 'cache'?"
    )  # fmt: skip


async def test_every_mistake_of_a_request_is_at_its_own_line(tmp_path: Path) -> None:
    platform = Platform(promise(tmp_path))
    wrong = (REQUEST % "bondstone.dev/promis: cache").replace("job-name: nightly", "jobname: nightly")
    assert [(line, words) for line, words, _ in await problems(tmp_path, platform, wrong)] == [
        (8, "there is no annotation 'bondstone.dev/promis'"),
        (11, "cache takes no spec.jobname"),
    ]
    small = (REQUEST % "").replace("size: 3", "size: 0").replace("namespace: shop", "namespace: Shop")
    [(line, words, _)] = await problems(tmp_path, platform, small)
    assert (line, "team" in words or "pattern" in words or "Shop" in words) == (6, True)
    [(line, words, _)] = await problems(tmp_path, platform, small.replace("Shop", "shop"))
    assert (line, words.partition(":")[0]) == (10, "size")
    absent = (REQUEST % "").replace("  job-name: nightly\n", "  job-name: null\n")
    [(line, words, _)] = await problems(tmp_path, platform, absent)
    assert "jobName" in words


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  namespace: shop\n", "", 4, "the Cache names no namespace, and so no team"),
        ("  name: sessions\n", "", 4, "the Cache has no name, which becomes that of its service"),
        ("example.org/v1", "platform.kratix.io/v1alpha1", 3, "a Cache of Kratix is not applied from here"),
        ("example.org/v1", "v1", 3, "a Cache is not applied from here"),
    ],
)
async def test_what_can_be_no_request_is_refused_before_the_platform_is_asked(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    told = await problems(tmp_path, None, (REQUEST % "").replace(old, new, 1))
    assert [each[:2] for each in told] == [(line, words)]


async def test_a_request_and_a_manifest_of_one_service_are_refused(tmp_path: Path) -> None:
    ours = "---\napiVersion: bondstone.dev/v1\nkind: Service\nmetadata: {team: shop, name: sessions}\n"
    [(_, words, _)] = await problems(tmp_path, None, REQUEST % "" + ours + "spec: {promise: cache}\n")
    assert words == "service shop/sessions is in two manifests"
