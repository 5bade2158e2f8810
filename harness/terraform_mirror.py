"""Has Terraform take a provider that was built here from a mirror, and ask no registry."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PLATFORM: Final = (
    f"{platform.system().lower()}_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine()) }"
)
"""This machine, as mirrors name it."""


def mirror(directory: Path, source: str, version: str, program: Path) -> Path:
    """Make a mirror of one provider.

    Args:
        directory: Where it is made.
        source: Address of the provider, as in `registry.terraform.io/hashicorp/time`.
        version: Under which it is offered.
        program: The provider.
    """
    root = directory / "mirror"
    folder = root / source / version / PLATFORM
    folder.mkdir(parents=True)
    name = f"terraform-provider-{source.rpartition('/')[2]}"
    shutil.copy2(program, folder / f"{name}_v{version}")
    return root


def configured(directory: Path, root: Path) -> Mapping[str, str]:
    """The environment in which Terraform installs providers from a mirror alone.

    Args:
        directory: For its configuration.
        root: The mirror.
    """
    file = directory / "terraform.rc"
    file.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{root}"\n  }}\n}}\n', encoding="utf-8"
    )
    return {"TF_CLI_CONFIG_FILE": str(file)}
