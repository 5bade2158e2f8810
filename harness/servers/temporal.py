"""A Temporal as in production: the server's release build on PostgreSQL, its schema set up by its own SQL tool."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.names import SA_TEAM
from bondstone.temporal.connection import ensure_search_attributes
from bondstone.temporal.payloads import DATA_CONVERTER
from harness.pinned import find
from harness.servers.postgres import USER, Postgres
from harness.servers.process import LOOPBACK, START_SECONDS, Server, ServerFailed, free_port, listens, low_port
from harness.waiting import NotInTime, until_async

NAMESPACE: Final = "bond"
RETENTION_SECONDS: Final = 24 * 3600

DYNAMIC_SETTINGS: Final[Mapping[str, Any]] = {
    # One machine: what spreads load over several only costs here.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    # The defaults slow down a load test long before the machine does.
    "frontend.namespaceRPS": 10_000,
    "frontend.rps": 10_000,
    "frontend.namespaceRPS.visibility": 1_000,
    "frontend.namespaceCount": 10_000,
    "matching.rps": 10_000,
    "history.rps": 10_000,
    "history.persistenceMaxQPS": 20_000,
    "matching.persistenceMaxQPS": 20_000,
    # A service of instant tools continues as new, and ends and begins again, within a second.
    "history.workflowIdReuseMinimalInterval": "0s",
}

_SERVICES: Final = ("frontend", "matching", "history", "worker")
_SHARDS: Final = 4
_STORES: Final = {"temporal": "default", "visibility": "visibility"}
"""Schema of the SQL tool, and what the server's configuration calls the store."""


@dataclass(frozen=True)
class ProductionTemporal:
    """A running Temporal.

    Args:
        server: Its process, to kill and to start again; what it knew is in PostgreSQL.
        address: `host:port` of its frontend.
        namespace: A namespace with Bondstone's search attributes.
        config: Its configuration file.
    """

    server: Server
    address: str
    namespace: str
    config: Path

    async def client(self) -> Client:
        """A connection as Bondstone makes it."""
        return await Client.connect(self.address, namespace=self.namespace, data_converter=DATA_CONVERTER)


@contextmanager
def running(
    directory: Path, postgres: Postgres, *, dynamic: Mapping[str, Any] = DYNAMIC_SETTINGS
) -> Iterator[ProductionTemporal]:
    """A new Temporal in new databases of a PostgreSQL.

    Args:
        directory: For its configuration (with the password in it, for its owner only) and its log.
        postgres: Where it keeps everything.
        dynamic: Dynamic configuration.

    Raises:
        ToolMissing: `make tools` has not built the server or its SQL tool.
        ServerFailed: it does not come up.
    """
    program = find("temporal-server")
    suffix = secrets.token_hex(4)
    databases = {schema: f"{schema}_{suffix}" for schema in _STORES}
    for schema, database in databases.items():
        _set_up_schema(postgres, schema, database)
    ports = {service: (free_port(), low_port()) for service in _SERVICES}
    dynamic_file = directory / "dynamic.yaml"
    dynamic_file.write_text(
        json.dumps({key: [{"value": value}] for key, value in dynamic.items()}), encoding="utf-8"
    )
    config = directory / "temporal.yaml"  # JSON is YAML
    config.touch(mode=0o600)
    config.write_text(json.dumps(_configuration(postgres, databases, ports, dynamic_file)), encoding="utf-8")
    port = ports["frontend"][0]
    server = Server(
        name="temporal-server",
        arguments=[str(program), "--config-file", str(config), "--allow-no-auth", "start"],
        log=directory / "temporal-server.log",
        ready=listens(port),
    )
    temporal = ProductionTemporal(server, f"{LOOPBACK}:{port}", NAMESPACE, config)
    try:
        server.start()
        asyncio.run(_make_namespace(temporal))
        yield temporal
    finally:
        server.kill()


def _set_up_schema(postgres: Postgres, schema: str, database: str) -> None:
    tool = [str(find("temporal-sql-tool")), "--plugin", "postgres12", "--endpoint", LOOPBACK, "--user", USER]
    tool += ["--port", str(postgres.port), "--database", database]
    for arguments in (
        ("create",),
        ("setup-schema", "--version", "0.0"),
        ("update-schema", "--schema-name", f"postgresql/v12/{schema}"),
    ):
        done = subprocess.run(
            [*tool, *arguments],
            env={**os.environ, "SQL_PASSWORD": postgres.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"temporal-sql-tool {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def _configuration(
    postgres: Postgres, databases: Mapping[str, str], ports: Mapping[str, tuple[int, int]], dynamic_file: Path
) -> dict[str, Any]:
    def datastore(database: str) -> dict[str, Any]:
        return {
            "sql": {
                "pluginName": "postgres12",
                "databaseName": database,
                "connectAddr": f"{LOOPBACK}:{postgres.port}",
                "connectProtocol": "tcp",
                "user": USER,
                "password": postgres.password,
                "maxConns": 20,
                "maxIdleConns": 20,
                "maxConnLifetime": "1h",
            }
        }

    def rpc(grpc: int, membership: int) -> dict[str, Any]:
        return {"rpc": {"grpcPort": grpc, "membershipPort": membership, "bindOnIP": LOOPBACK}}

    frontend = f"{LOOPBACK}:{ports['frontend'][0]}"
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": _STORES["temporal"],
            "visibilityStore": _STORES["visibility"],
            "numHistoryShards": _SHARDS,
            "datastores": {_STORES[schema]: datastore(database) for schema, database in databases.items()},
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}},
        "services": {service: rpc(*pair) for service, pair in ports.items()},
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": frontend,
                }
            },
        },
        "publicClient": {"hostPort": frontend},
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(dynamic_file), "pollInterval": "10s"},
    }


async def _make_namespace(temporal: ProductionTemporal) -> None:
    """Make the namespace and its search attributes, and wait until every part of the server knows of them."""

    async def made() -> bool:
        client = await temporal.client()
        await _register(client)
        await ensure_search_attributes(client)
        await client.count_workflows(f"{SA_TEAM} = 'nobody'")
        return True

    try:
        await until_async(made, "its namespace", seconds=START_SECONDS, not_yet=(RPCError, RuntimeError))
    except NotInTime as error:
        raise ServerFailed(f"Temporal does not serve: {error}\n{temporal.server.tail()}") from error


async def _register(client: Client) -> None:
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=client.namespace,
                workflow_execution_retention_period=Duration(seconds=RETENTION_SECONDS),
            )
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
