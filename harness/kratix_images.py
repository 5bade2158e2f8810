"""The images of Kratix promises, built from their Dockerfiles without pulling one.

A base image is replaced by one made here, of the system's static busybox, of yq's module, and of the programs of
this machine that the Dockerfile adds, with their libraries. What a Dockerfile compiles with Go is compiled here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bondstone.base.errors import InvalidInput
from harness.pinned import ROOT, ToolMissing

YQ: Final = "github.com/mikefarah/yq/v4@v4.54.3"
_LIMITS: Final = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
_BUILD: Final = ("build", "--quiet", "--layers=false", "--network=host", "--isolation=chroot", *_LIMITS)
"""Where the engine itself runs in a container, it can build no other way."""
_PLAIN: Final = ("alpine", "gcr.io/distroless/static-debian13")
_ADDED: Final = re.compile(r"apk add ([^&|;]+)")
_BROUGHT: Final = re.compile(r"https://\S*(kubectl|terraform|get-helm)")
_DATA: Final = {
    "ruby": ("/usr/lib/ruby", "/usr/share/rubygems-integration", "/usr/lib/x86_64-linux-gnu/ruby"),
    "curl": ("/etc/ssl/certs",),
}
"""Folders that a program needs beside its libraries."""
_KNOWN: Final = frozenset(
    {"bash", "curl", "git", "helm", "jq", "kubectl", "openssl", "python3", "ruby", "terraform", "yq"}
)
_ELSEWHERE: Final = {
    "app-promise-pipeline": "workshop-app-promise/workflows/promise/configure/dependencies/configure-deps",
    "mongodb-deps-configure-pipeline": "mongodb/internal/promise-pipeline",
    "redis-multi-cluster-replication-configure-pipeline": "redis-multi-cluster-replication/workflows/resource/"
    "configure/instance/configure-redis",
}
"""Images whose names do not say where they are built."""
_INSTEAD: Final = {
    "kratix-workshop-app-pipeline-image": {
        "resources/terraform.tf": """\
variable "bucket_name" { type = string }
resource "terraform_data" "bucket" { input = var.bucket_name }
output "bucket" { value = terraform_data.bucket.output }
"""
    }
}
"""Files of an image for which a registry of Terraform providers would be needed."""
_PYTHON_PACKAGES: Final = ("kratix-sdk", "PyYAML")
_BASE: Final = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "B=/bin/busybox; $B mkdir -p /usr/bin /usr/sbin /sbin /tmp && $B --install -s"]
COPY root /
ENV PATH=/usr/local/bin:/usr/bin:/bin KUBECONFIG=/kubeconfig HOME=/tmp
"""


@dataclass
class _Dockerfile:
    """The last stage of a Dockerfile, as it is read: what is left to do on a base that has the programs.

    Args:
        compile: Compiles the context's Go program under a name; its path in the context.
    """

    compile: Callable[[str], str]
    lines: list[str] = field(default_factory=list)
    programs: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    """What it needs and no machine without a registry of images has."""
    _compiled: dict[str, str] = field(default_factory=dict)
    _golang: bool = False
    _workdir: str = "/"

    def read(self, word: str, rest: str) -> None:
        """Read the next instruction."""
        if word == "FROM":
            self._begin(next(part for part in shlex.split(rest) if not part.startswith("--")))
        elif word == "RUN":
            self._run(rest)
        elif word == "COPY" and "--from=" in rest:
            _, source, target = rest.split()
            here = self._compiled.get(source) or os.path.relpath(source, self._workdir)
            self.lines.append(f"COPY {here} {target}")
        elif self._golang and word == "WORKDIR":
            self._workdir = rest
        elif word != "ARG" and not (self._golang and word == "COPY"):
            self.lines.append(f"{word} {rest}")

    def _begin(self, base: str) -> None:
        self.lines = []
        self._golang = base.startswith("golang:")
        if base.startswith("python:"):
            self.programs.add("python3")
        elif not self._golang and base.partition(":")[0] not in _PLAIN:
            self.others.add(base)

    def _run(self, command: str) -> None:
        added = {part for words in _ADDED.findall(command) for part in words.split() if not part.startswith("-")}
        brought = {"helm" if each == "get-helm" else each for each in _BROUGHT.findall(command)}
        self.programs |= (added | brought) & _KNOWN
        self.others |= added - _KNOWN
        if output := re.search(r"go build -o (\S+)", command):
            self._compiled[output[1]] = self.compile(Path(output[1]).name)
            self.lines.append(f"COPY {self._compiled[output[1]]} {output[1]}")
        elif not (added or brought or self._golang or "pip install" in command or "mv kubectl " in command):
            self.lines.append(f"RUN {command}")


@dataclass
class Images:
    """Builds images in a folder.

    Args:
        engine: The command of a container engine.
        directory: A new folder to build in.
        kubeconfig: Is in each image, in place of the service account that Kratix gives a pipeline.
    """

    engine: str
    directory: Path
    kubeconfig: Path
    _built: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        busybox, go = shutil.which("busybox"), shutil.which("go")
        if busybox is None or go is None:
            raise ToolMissing("there is no Go, or no busybox: `apt-get install busybox-static` brings the latter")
        self.directory.mkdir()
        shutil.copy(busybox, self.directory / "busybox")
        _go("install", YQ, environment={"GOBIN": str(self.directory)})

    def of(self, promise: Any, folder: Path, checkout: Path) -> dict[str, str]:
        """Build each image that a promise names.

        Args:
            promise: The document.
            folder: The promise's own.
            checkout: Where it is from; a promise may use an image of another one.

        Returns:
            The name of each image here, by digest.

        Raises:
            InvalidInput: one cannot be built here.
        """
        return {image: self._build(_source(image, folder, checkout)) for image in sorted(set(_named(promise)))}

    def _build(self, source: Path) -> str:
        name = source.name
        if source not in self._built:
            with tempfile.TemporaryDirectory(prefix="bond-image-") as folder:
                context = Path(folder) / "context"
                shutil.copytree(source, context, symlinks=True)
                for file, text in _INSTEAD.get(name, {}).items():
                    (context / file).write_text(text)
                self._rewrite(context, name)
                tag = f"localhost/image-{len(self._built)}:v1"
                self._run(*_BUILD, f"--tag={tag}", str(context))
            digest = self._run("image", "inspect", tag, "--format={{.Digest}}").strip()
            self._built[source] = f"{tag.partition(':')[0]}@{digest}"
        return self._built[source]

    def _rewrite(self, context: Path, name: str) -> None:
        """Have a Dockerfile begin with a base of ours, without what that holds already."""
        file = _Dockerfile(lambda output: self._compile(context, output))
        for word, rest in _instructions((context / "Dockerfile").read_text()):
            file.read(word, rest)
        if file.others:
            raise InvalidInput(f"{name} needs {', '.join(sorted(file.others))}")
        base = self._base(frozenset(file.programs) - {"yq"})
        (context / "Dockerfile").write_text("\n".join([f"FROM {base}", *file.lines, ""]))

    def _compile(self, context: Path, name: str) -> str:
        """Compile a context's program; its path in the context."""
        module = next(path.parent for path in sorted(context.rglob("go.mod")))
        _go("build", "-o", str(context / ".compiled" / name), ".", folder=module)
        return f".compiled/{name}"

    def _base(self, programs: Collection[str]) -> str:
        """A base image that holds programs of this machine."""
        tag = f"localhost/base:{'-'.join(sorted(programs)) or 'plain'}"
        context = self.directory / tag.rpartition(":")[2]
        if context.exists():
            return tag
        root = context / "root"
        (root / "usr/bin").mkdir(parents=True)
        shutil.copy(self.directory / "busybox", context)
        shutil.copy(self.directory / "yq", root / "usr/bin")
        shutil.copy(self.kubeconfig, root / "kubeconfig")
        (root / "kubeconfig").chmod(0o644)
        for program in sorted(programs):
            _bring(program, root)
        (context / "Dockerfile").write_text(_BASE)
        self._run(*_BUILD, f"--tag={tag}", str(context))
        return tag

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*shlex.split(self.engine), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise InvalidInput(
                f"the engine's {arguments[0]} failed: {done.stderr.strip().splitlines()[-1][-300:]}"
            )
        return done.stdout


def _named(value: Any) -> Iterator[str]:
    """Every image of a promise's pipelines."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str) and "name" in value:
            yield value["image"]
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def _source(image: str, folder: Path, checkout: Path) -> Path:
    """The folder of an image's Dockerfile, by the names that the marketplace gives to images."""
    name = image.rpartition("/")[2].partition(":")[0]
    every = {file.parent for file in checkout.rglob("Dockerfile")}
    below = {each for each in every if folder in each.parents}
    if name in _ELSEWHERE and (other := checkout / _ELSEWHERE[name]) in every:
        return other
    named = [each for each in every if f"{each.relative_to(checkout).parts[0]}-{each.name}" == name]
    for fitting in (named, [each for each in below if name.endswith(each.name) or each.name.endswith(name)]):
        if len(fitting) == 1:
            return fitting[0]
    raise InvalidInput(f"no Dockerfile of {image} is there")


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile."""
    whole = re.sub(r"\\\s*\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", text))
    for line in whole.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


def _bring(program: str, root: Path) -> None:
    """Copy a program of this machine, with the libraries and folders that it needs, into an image's root."""
    if program == "python3":
        _bring_python(root)
        return
    pinned = ROOT / ".tools" / "bin" / program
    path = str(pinned) if pinned.exists() else shutil.which(program)
    if path is None:
        raise InvalidInput(f"this machine has no {program}")
    target = root / "usr/bin" / program
    shutil.copy(path, target)
    bring_libraries([target], root)
    for folder in _DATA.get(program, ()):
        if Path(folder).exists():
            shutil.copytree(folder, root / folder.lstrip("/"), dirs_exist_ok=True, ignore_dangling_symlinks=True)
            bring_libraries(sorted((root / folder.lstrip("/")).rglob("*.so")), root)


def _bring_python(root: Path) -> None:
    """Copy this interpreter, and install what the pipelines import."""
    base = Path(sys.base_prefix)
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    unused = shutil.ignore_patterns("test", "idlelib", "site-packages", "__pycache__", "config-*")
    shutil.copytree(base / library, root / "usr" / library, ignore=unused)
    for name in ("python3", "python"):
        shutil.copy(Path(sys.base_prefix) / "bin/python3", root / "usr/bin" / name)
    modules = sorted((root / "usr" / library / "lib-dynload").glob("*.so"))
    bring_libraries([root / "usr/bin/python3", *modules], root)
    site = root / "usr" / library / "site-packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), *_PYTHON_PACKAGES]
    subprocess.run(command, check=True)


def bring_libraries(files: Sequence[Path], root: Path) -> None:
    """Copy the libraries that programs of this machine need into an image's root.

    Args:
        files: The programs.
        root: The image's root.
    """
    for file in files:
        done = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+\.so[^\s:]*)", done.stdout):
            target = root / library.lstrip("/")
            if not target.exists() and root not in Path(library).parents:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)


def _go(*arguments: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", **(environment or {})}
    done = subprocess.run(
        ["go", *arguments], cwd=folder, env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InvalidInput(f"go {arguments[0]} failed: {done.stderr.strip()[-300:]}")
