"""One promise for each executor, and the thing that it keeps: what the shared test of all operations stands on.

Each promise has the same versions: 1.0.1 has one object more, 1.0.2 is not healthy, 1.0.3 waits until it is let
go, 1.1.0 renames an input.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError

from bondstone.client.direct.client import DirectClient
from harness.servers.containers import Containers
from harness.servers.hosts import Hosts
from harness.servers.kubernetes import ControlPlane
from harness.waiting import wait_until

VERSIONS = ("1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.1.0")
PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: NAME, version: VERSION, title: A thing, owner: shop}
spec:
  description: A thing.
  inputs:
    type: object
    required: [namespace]
    additionalProperties: false
    properties:
      namespace: {type: string}
      LOGIN
      COLOUR: {type: string, default: blue}
  outputs:
    colour: {type: string, value: "${steps.app.outputs.PLACEcolour}"}
    version: {type: string, value: "${steps.app.outputs.PLACEversion}"}
  steps:
    - id: app
      SECTION
  policies: [policies/]
"""
POLICY = """
package colours
import rego.v1

colour contains item.data.colour if some item in input.plan.manifests
colour contains item.spec.colour if some item in input.plan.manifests
colour contains item.after.colour if some item in input.plan.changes
colour contains item.change.after.data.colour if some item in input.plan.resource_changes
colour contains value.colour if {
    some task in input.plan.tasks
    some name, text in task.after
    contains(name, "thing.json")
    value := json.unmarshal(text)
}
deny contains "that colour is forbidden" if "forbidden" in colour
"""
NOT_HEALTHY = """
  patch:
    health: [{expression: "outputs.version != '1.0.2'", within: 1s, every: 1s}]
"""
UPGRADE = """
  upgrade:
    from: ">=1.0.0"
    inputs:
      namespace: "${inputs.namespace}"
      LOGIN
      shade: "${inputs.colour}ish"
"""
LOGIN_INPUTS = """\
      login: {type: object}
      loginKey: {type: string, writeOnly: true}
"""
LOGIN_KEPT = """\
      login: "${inputs.login}"
      loginKey: "${inputs.loginKey}"
"""
CLUSTER_OUTPUTS = """
        outputs:
          colour: {from: ConfigMap/thing, path: "{.data.colour}"}
          version: {from: ConfigMap/thing, path: "{.data.version}"}
"""
SECTIONS = {
    "helm": """
      helm:
        chart: chart
        namespace: "${inputs.namespace}"
        release: thing
        values: {colour: "${inputs.COLOUR}"}
    """,
    "kubernetes": """
      kubernetes:
        manifests: [app.yaml]
        namespace: "${inputs.namespace}"
    """,
    "crossplane": """
      kubernetes:
        manifests: [app.yaml]
        namespace: "${inputs.namespace}"
        ready: crossplane
        outputs:
          colour: {from: shop.example.org/v1/Thing/thing, path: "{.spec.colour}"}
          version: {from: shop.example.org/v1/Thing/thing, path: "{.spec.version}"}
    """,
    "kratix": """
      kratix:
        promise: thing
        api: {group: shop.example.org, version: v1, kind: Thing, plural: things}
        object:
          apiVersion: shop.example.org/v1
          kind: Thing
          metadata: {name: "${service.name}", namespace: default}
          spec: {colour: "${inputs.COLOUR}"}
        configure: [{name: write, containers: [{name: write, image: IMAGE, args: ARGUMENTS}]}]
        namespace: "${inputs.namespace}"
    """,
    "terraform": """
      terraform:
        module: module
        variables: {space: "URL/${inputs.namespace}", colour: "${inputs.COLOUR}"}
    """,
    "ansible": """
      ansible:
        playbook: site.yml
        destroy: teardown.yml
        verify: false
        inventory: {all: {hosts: {web: "${inputs.login.variables}"}}}
        known_hosts: "${inputs.login.known_hosts}"
        private_key: "${inputs.loginKey}"
        vars: {prefix: "~/${inputs.namespace}", colour: "${inputs.COLOUR}"}
        outputs: {colour: {}, version: {}}
    """,
    "container": """
      container:
        image: IMAGE
        network: pool
        inputs: {url: "URL/${inputs.namespace}", colour: "${inputs.COLOUR}", version: VERSION, MORE}
        outputs: {colour: {}, version: {}}
    """,
}
SECTIONS["jobs"] = SECTIONS["container"]
KINDS = [*SECTIONS]
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: thing}
data: {colour: 'COLOUR', version: VERSION}
"""
MORE_CONFIG = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: since-1.0.1}
data: {key: value}
"""
VOLUME = """
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: held}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}
"""
MOUNTED = """
---
apiVersion: batch/v1
kind: Job
metadata: {name: held}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: held, image: example/held, volumeMounts: [{name: held, mountPath: /held}]}]
      volumes: [{name: held, persistentVolumeClaim: {claimName: held}}]
"""
COMPOSITE = """
apiVersion: shop.example.org/v1
kind: Thing
metadata: {name: thing}
spec: {colour: 'COLOUR', version: VERSION}
"""
MORE_COMPOSITE = """
---
apiVersion: shop.example.org/v1
kind: Thing
metadata: {name: since-1.0.1}
spec: {colour: none}
"""
MODULE = """
terraform {
  required_providers {
    shop = { source = "bond.test/tests/shop" }
  }
}
variable "space" { type = string }
variable "colour" { type = string }
locals {
  things = {
    thing = { data = { colour = var.colour, version = "VERSION" }, wait_for = WAIT_FOR }
    MORE
  }
}
resource "shop_object" "kept" {
  for_each = local.things
  space    = var.space
  name     = each.key
  data     = each.value.data
  wait_for = each.value.wait_for
}
output "colour" { value = shop_object.kept["thing"].data.colour }
output "version" { value = shop_object.kept["thing"].data.version }
"""
WAIT = """
        wait: [{object: PersistentVolumeClaim/held, path: "{.status.phase}", equals: Bound}]
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: thing
      ansible.builtin.lineinfile:
        path: "{{ prefix }}.thing.json"
        create: true
        regexp: "."
        line: "{{ {'colour': colour, 'version': 'VERSION'} | to_json }}"
"""
MORE_TASK = """
    - name: since-1.0.1
      ansible.builtin.lineinfile: {path: "{{ prefix }}.since-1.0.1.json", create: true, line: "{}"}
"""
WAIT_TASK = """
    - ansible.builtin.wait_for: {path: "{{ prefix }}.held", timeout: 600}
      when: not ansible_check_mode
"""
LAST_TASK = """
    - ansible.builtin.set_stats: {data: {colour: "{{ colour }}", version: VERSION}}
"""
TEARDOWN = """
- hosts: all
  gather_facts: false
  tasks:
    - name: everything
      ansible.builtin.file: {path: "{{ prefix }}.{{ item }}.json", state: absent}
      loop: [thing, since-1.0.1]
"""


@dataclass(frozen=True)
class World:
    """The real servers behind the tools; of Crossplane its control plane has all."""

    plane: ControlPlane
    hosts: Hosts
    containers: Containers


def write(folder: Path, kind: str, version: str, world: World) -> Path:
    """The promise of a kind in one version."""
    colour = "shade" if version == "1.1.0" else "colour"
    section = SECTIONS[kind].strip() + (CLUSTER_OUTPUTS if kind in {"helm", "kubernetes"} else "")
    if (kind, version) == ("kubernetes", "1.0.3"):  # Helm waits for it unasked
        section += WAIT
    more = "more: {}" if version == "1.0.0" else "more: {since-1.0.1: {key: value}}"
    more += ", wait_for: held" if version == "1.0.3" else ""
    section = section.replace("MORE", more).replace("IMAGE", world.containers.image)
    section = section.replace("URL", world.containers.things.url)
    text = PROMISE.replace("SECTION", section).replace("NAME", f"thing-{kind}").replace("VERSION", version)
    text = text.replace("      LOGIN\n", LOGIN_INPUTS if kind == "ansible" else "")
    text += {"1.0.2": NOT_HEALTHY, "1.1.0": UPGRADE}.get(version, "")
    text = text.replace("      LOGIN\n", LOGIN_KEPT if kind == "ansible" else "")
    config = CONFIG.replace("VERSION", version) + ("" if version == "1.0.0" else MORE_CONFIG)
    config += VOLUME if version == "1.0.3" else ""
    text = text.replace("PLACE", "status." if kind == "kratix" else "")
    files = {"promise.yaml": text.replace("COLOUR", colour), "policies/colours.rego": POLICY}
    if kind == "helm":
        files["chart/Chart.yaml"] = "apiVersion: v2\nname: thing\nversion: 0.1.0\n"
        files["chart/templates/app.yaml"] = config.replace("COLOUR", "{{ .Values.colour }}")
    elif kind == "kubernetes":
        files["app.yaml"] = config.replace("COLOUR", f"${{inputs.{colour}}}")
    elif kind == "crossplane":
        composite = COMPOSITE + ("" if version == "1.0.0" else MORE_COMPOSITE)
        files["app.yaml"] = composite.replace("VERSION", version).replace("COLOUR", f"${{inputs.{colour}}}")
    elif kind == "kratix":
        objects = config + (MOUNTED if version == "1.0.3" else "")
        written = [objects, f"{{colour: 'COLOUR', version: {version}}}"]
        arguments = json.dumps([text.replace("COLOUR", f"${{inputs.{colour}}}") for text in written])
        files["promise.yaml"] = files["promise.yaml"].replace("ARGUMENTS", arguments)
    elif kind == "terraform":
        more = "" if version == "1.0.0" else '"since-1.0.1" = { data = { key = "value" }, wait_for = null }'
        module = MODULE.replace("VERSION", version).replace("MORE", more)
        files["module/main.tf"] = module.replace("WAIT_FOR", '"held"' if version == "1.0.3" else "null")
    elif kind == "ansible":
        playbook = PLAYBOOK + ("" if version == "1.0.0" else MORE_TASK)
        playbook += (WAIT_TASK if version == "1.0.3" else "") + LAST_TASK
        files |= {"site.yml": playbook.replace("VERSION", version), "teardown.yml": TEARDOWN}
    for name, content in files.items():
        path = folder / kind / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / kind / version


class Kept(Protocol):
    """What a service of version 1.0.0 keeps, as somebody sees it who does not ask the platform."""

    address: str
    """By which a change of it is called."""
    type: str

    @property
    def data(self) -> dict[str, str]:
        """What the thing holds."""

    @property
    def names(self) -> set[str]:
        """Everything that there is."""

    def by_hand(self, **data: str) -> None:
        """Somebody changes it without asking."""

    def lose(self, name: str) -> None:
        """Somebody takes away something of it."""

    def let_go(self) -> None:
        """What version 1.0.3 waits for."""

    def clean(self) -> None:
        """Leave nothing behind."""


class InCluster:
    """A ConfigMap."""

    type = "ConfigMap"

    def __init__(self, world: World, namespace: str) -> None:
        self._plane, self._namespace = world.plane, namespace
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self.address = f"v1/ConfigMap/{namespace}/thing"
        self._plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    @property
    def data(self) -> dict[str, str]:
        result: dict[str, str] = self._plane.call("GET", f"{self._path}/thing")["data"]
        return result

    @property
    def names(self) -> set[str]:
        items = self._plane.call("GET", self._path)["items"]
        return {item["metadata"]["name"] for item in items} - {"kube-root-ca.crt"}

    def by_hand(self, **data: str) -> None:
        answer = self._plane.call("GET", f"{self._path}/thing")
        self._plane.call("PUT", f"{self._path}/thing", {**answer, "data": {**answer["data"], **data}})

    def lose(self, name: str) -> None:
        self._plane.call("DELETE", f"{self._path}/{name}")

    def let_go(self) -> None:
        claim = {"namespace": self._namespace, "name": "held"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
        volume = {"metadata": {"name": self._namespace}, "spec": {**spec, "claimRef": claim}}
        self._plane.call("POST", "/api/v1/persistentvolumes", volume)

    def clean(self) -> None:
        self._plane.call("DELETE", f"/api/v1/namespaces/{self._namespace}")


class InCrossplane(InCluster):
    """A composite."""

    type = "Thing"

    def __init__(self, world: World, namespace: str) -> None:
        super().__init__(world, namespace)
        self._path = f"/apis/shop.example.org/v1/namespaces/{namespace}/things"
        self.address = f"shop.example.org/v1/Thing/{namespace}/thing"

    @property
    def data(self) -> dict[str, str]:
        spec = self._plane.call("GET", f"{self._path}/thing")["spec"]
        return {name: spec[name] for name in ("colour", "version")}

    def by_hand(self, **data: str) -> None:
        while True:
            answer = self._plane.call("GET", f"{self._path}/thing")
            try:
                self._plane.call("PUT", f"{self._path}/thing", {**answer, "spec": {**answer["spec"], **data}})
            except HTTPError as error:
                if error.code != 409:  # Crossplane has written it meanwhile
                    raise
            else:
                return

    def lose(self, name: str) -> None:
        super().lose(name)
        wait_until(lambda: name not in self.names, "Crossplane lets it go")


class OnHost:
    """A file in the home directory of a host's user."""

    type = "ansible.builtin.lineinfile"  # one program on the host, where copy is two
    address = "web/thing"

    def __init__(self, world: World, namespace: str) -> None:
        self._home, self._namespace = world.hosts.home(0), namespace

    @property
    def data(self) -> dict[str, str]:
        document: dict[str, str] = json.loads(self._file("thing.json").read_text())
        return document

    @property
    def names(self) -> set[str]:
        files = self._home.glob(f"{self._namespace}.*.json")
        return {path.name.removeprefix(f"{self._namespace}.").removesuffix(".json") for path in files}

    def by_hand(self, **data: str) -> None:
        self._file("thing.json").write_text(json.dumps({**self.data, **data}))

    def lose(self, name: str) -> None:
        self._file(f"{name}.json").unlink()

    def let_go(self) -> None:
        self._file("held").touch()

    def clean(self) -> None:
        for file in self._home.glob(f"{self._namespace}.*"):
            file.unlink()

    def _file(self, name: str) -> Path:
        return self._home / f"{self._namespace}.{name}"


class InService:
    """A thing of a small HTTP service."""

    type = "thing"
    address = "thing"

    def __init__(self, world: World, namespace: str) -> None:
        self._things = world.containers.things.space(namespace)

    @property
    def data(self) -> dict[str, str]:
        result: dict[str, str] = self._things["thing"]
        return result

    @property
    def names(self) -> set[str]:
        return {*self._things} - {"held"}

    def by_hand(self, **data: str) -> None:
        self._things["thing"] = {**self._things["thing"], **data}

    def lose(self, name: str) -> None:
        del self._things[name]

    def let_go(self) -> None:
        self._things["held"] = {}

    def clean(self) -> None:
        self._things.clear()


class OfProvider(InService):
    """The same, kept by a provider of Terraform."""

    type = "shop_object"
    address = 'shop_object.kept["thing"]'


KEPT: dict[str, Any] = {
    "helm": InCluster,
    "kubernetes": InCluster,
    "crossplane": InCrossplane,
    "kratix": InCluster,
    "terraform": OfProvider,
    "ansible": OnHost,
    "container": InService,
    "jobs": InService,
}


def inputs(kind: str, namespace: str, world: World) -> dict[str, Any]:
    """What a service of a kind is asked for with."""
    if kind != "ansible":
        return {"namespace": namespace}
    login = {"variables": world.hosts.variables(0), "known_hosts": world.hosts.known_hosts}
    return {"namespace": namespace, "login": login, "loginKey": world.hosts.private_key}


@dataclass
class Deployed:
    """A service of version 1.0.0, and what it keeps."""

    bond: DirectClient
    service: str
    kept: Kept
    namespace: str
