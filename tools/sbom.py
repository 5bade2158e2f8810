"""The software bill of materials of the images, as CycloneDX JSON: `python -m tools.sbom [FILE]`.

What is in it follows from what is pinned: the packages of `requirements/runtime.txt` with their hashes, the images
of the `Dockerfile`, the programs that it builds, the scripts of the console. No index is asked; the same sources
give the same bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bondstone import __version__
from harness.pinned import TOOLS
from tools import vendor_console

ROOT: Final = Path(__file__).resolve().parent.parent
REQUIREMENTS: Final = ROOT / "requirements" / "runtime.txt"
DOCKERFILE: Final = ROOT / "Dockerfile"
DEFAULT: Final = "sbom.cdx.json"
BUILT_PROGRAMS: Final = ("helm", "opa")
"""What the Dockerfile has `tools.build` build."""
_THIS: Final = "bondstone"


def main(arguments: Sequence[str]) -> int:
    """Write it, and say what is in it; the exit code."""
    target = Path(arguments[0] if arguments else DEFAULT)
    document = bill()
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{target}: {len(document['components'])} components, CycloneDX {document['specVersion']}")
    return 0


def bill(*, validate: bool = True) -> dict[str, Any]:
    """The document.

    Args:
        validate: Hold it against the schema of CycloneDX, which takes some seconds.

    Raises:
        ValueError: it does not fit the schema of CycloneDX.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(REQUIREMENTS)]
    command += ["--short-PURLs", "--output-reproducible", "--sv", "1.6", "--no-validate"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(ran.stdout)
    components = [_package(each) for each in document["components"]]
    components += [*images(), *_programs(), _scripts()]
    components.sort(key=lambda each: str(each["bom-ref"]))
    document["components"] = components
    document["metadata"]["component"] = {
        "type": "application", "bom-ref": _THIS, "name": _THIS, "version": __version__,
        "purl": f"pkg:pypi/{_THIS}@{__version__}",
    }  # fmt: skip
    references = [each["bom-ref"] for each in components]
    document["dependencies"] = [{"ref": _THIS, "dependsOn": references}, *({"ref": each} for each in references)]
    if validate:
        # Here, since they take two seconds to import: forty grammars of addresses are compiled.
        from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
        from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

        if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)):
            raise ValueError(str(problem))
    return document


def images() -> Iterator[dict[str, Any]]:
    """The images that ours are made of, by the defaults of the Dockerfile's arguments."""
    for line in DOCKERFILE.read_text(encoding="utf-8").splitlines():
        name, _, reference = line.removeprefix("ARG ").partition("=")
        if not line.startswith("ARG ") or not name.endswith("_IMAGE"):
            continue
        tagged, _, digest = reference.partition("@sha256:")
        image, _, version = tagged.rpartition(":")
        purl = f"pkg:docker/{image}@{f'sha256:{digest}' if digest else version}"
        component = {"type": "container", "bom-ref": purl, "name": image, "version": version, "purl": purl}
        yield component | ({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {})


def _programs() -> Iterator[dict[str, Any]]:
    """What the Dockerfile builds from Go modules."""
    for name in BUILT_PROGRAMS:
        module, version = TOOLS[name].module, f"v{TOOLS[name].version}"
        purl = f"pkg:golang/{module}@{version}"
        yield {"type": "application", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _package(component: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in component.items() if name != "description"}  # the line it was read from
    return kept | {"bom-ref": component["purl"]}


def _scripts() -> dict[str, Any]:
    name, _, version = vendor_console.PACKAGE.rpartition("@")
    purl = f"pkg:npm/{name}@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
        "licenses": [{"license": {"name": vendor_console.LICENCE}}],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
