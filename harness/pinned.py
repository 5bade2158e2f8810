"""The programs that no Python package ships: which, in what version, and where they are.

`tools/go/*/go.mod` pins them and all that they are made of; `python -m tools.build` builds them into `.tools/bin`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "tools" / "go"
BUILT: Final = ROOT / ".tools" / "bin"
VERSION_SECONDS: Final = 60


class ToolMissing(Exception):
    """A program is not there; the message says which, and what brings it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program written in Go.

    Args:
        name: Of the file.
        folder: Of the Go module below `tools/go`. Tools share one where their dependencies agree.
        module: The Go module that it is part of; its version is the tool's.
        package: Its main package, below the module.
        stamp: Variables to set, as its release build sets the version: `{version}`, `{major}` and `{minor}`.
        asks: Arguments that make it print its version.
        source: Folder of its main package, for a program of our own that is made of the module.
    """

    name: str
    folder: str
    module: str
    package: str
    stamp: tuple[str, ...] = ()
    asks: tuple[str, ...] = ("--version",)
    source: str = ""

    @property
    def version(self) -> str:
        """As in `1.37.2`, from the module's `go.mod`."""
        text = (SOURCES / self.folder / "go.mod").read_text(encoding="utf-8")
        requirement = re.search(rf"^\s*(?:require )?{re.escape(self.module)} v(\S+)", text, re.MULTILINE)
        if not requirement:
            raise ValueError(f"tools/go/{self.folder}/go.mod does not require {self.module}")
        return requirement[1]

    @property
    def import_path(self) -> str:
        """What `go build` is told to build."""
        return f"./{self.source}" if self.source else f"{self.module}/{self.package}".rstrip("/")

    @property
    def built(self) -> Path:
        """Where `make tools` puts it."""
        return BUILT / self.name

    def on_path(self) -> Path | None:
        """The one that somebody installed, when it is of our version."""
        path = None if self.source else shutil.which(self.name)
        if not path:
            return None
        try:
            ran = subprocess.run(
                [path, *self.asks], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        same = re.search(rf"(?<![\d.]){re.escape(self.version)}(?![\d.])", ran.stdout + ran.stderr)
        return Path(path) if same else None


_KUBERNETES_VERSION: Final = tuple(
    f"k8s.io/component-base/version.{name}"
    for name in ("gitVersion=v{version}", "gitMajor={major}", "gitMinor={minor}")
)


def _kubernetes(name: str) -> Tool:
    return Tool(name, "kubernetes", "k8s.io/kubernetes", f"cmd/{name}", _KUBERNETES_VERSION)


TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool("versitygw", "s3", "github.com/versity/versitygw", "cmd/versitygw", ("main.Version=v{version}",)),
        Tool("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", ""),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        Tool(
            "kwok",
            "kubernetes",
            "sigs.k8s.io/kwok",
            "cmd/kwok",
            ("sigs.k8s.io/kwok/pkg/consts.Version=v{version}",),
        ),
        Tool(
            "helm",
            "kubernetes",
            "helm.sh/helm/v3",
            "cmd/helm",
            ("helm.sh/helm/v3/internal/version.version=v{version}",),
            ("version", "--short"),
        ),
        Tool(
            "helm4",
            "helm4",
            "helm.sh/helm/v4",
            "cmd/helm",
            ("helm.sh/helm/v4/internal/version.version=v{version}",),
            ("version", "--short"),
        ),
        Tool(
            "opa",
            "opa",
            "github.com/open-policy-agent/opa",
            "",
            ("github.com/open-policy-agent/opa/v1/version.Version={version}",),
            ("version",),
        ),
        Tool("opa-cases", "opa", "github.com/open-policy-agent/opa", "", source="cases"),
        Tool("temporal-server", "temporal", "go.temporal.io/server", "cmd/server"),
        Tool("temporal-sql-tool", "temporal", "go.temporal.io/server", "cmd/tools/sql"),
        Tool(
            "terraform-provider-shop",
            "terraform-provider-time",
            "github.com/hashicorp/terraform-plugin-framework",
            "",
            source="shop",
        ),
    )
}
"""By name, in the order in which they are built: what others are made of comes first."""

PEERS: Final = {
    tool.name: tool
    for tool in (
        Tool(
            "crossplane",
            "crossplane",
            "github.com/crossplane/crossplane/v2",
            "cmd/crossplane",
            ("github.com/crossplane/crossplane/v2/internal/version.version=v{version}",),
        ),
        Tool(
            "function-patch-and-transform",
            "function-patch-and-transform",
            "github.com/crossplane-contrib/function-patch-and-transform",
            "",
        ),
        Tool(
            "provider-nop",
            "provider-nop",
            "github.com/crossplane-contrib/provider-nop",
            "cmd/provider",
            # It has no option for the port of its metrics, 8080; 0 is none.
            ("sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0",),
        ),
        Tool("kratix-contract", "kratix", "github.com/syntasso/kratix", "", source="contract"),
    )
}
"""For `tests/peers` alone: Crossplane with what a composition needs, and Kratix's own library."""

BENCHES: Final = {
    "terraform-provider-time": Tool(
        "terraform-provider-time", "terraform-provider-time", "github.com/hashicorp/terraform-provider-time", ""
    )
}
"""For benchmarks alone: a small provider of Terraform."""


def find(name: str) -> Path:
    """A pinned program: the one that `make tools` built, else one on PATH of the same version.

    Raises:
        ToolMissing: neither is there.
    """
    tool = (TOOLS | PEERS | BENCHES)[name]
    if tool.built.exists():
        return tool.built
    path = tool.on_path()
    if path is None:
        target = "tools" if name in TOOLS else "peers" if name in PEERS else "bench-tools"
        raise ToolMissing(f"no {name} {tool.version}: run `make {target}` (needs Go)")
    return path
