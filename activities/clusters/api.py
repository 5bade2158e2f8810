"""A client for whatever a cluster holds: any kind, as plain JSON, each failure a typed error.

The `kubernetes` package reads the kubeconfig, gets credentials and checks certificates; importing it takes a
second, so only what talks to a cluster does, in a thread.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import urllib3

from bondstone.activities.clusters.connection import ClusterConnection
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.merge_rules import is_built_in
from bondstone.activities.clusters.merging import merge_patch, strategic_patch
from bondstone.activities.clusters.refusals import ApiRefusal, refusal, short
from bondstone.base.errors import ToolFailed, ToolUnavailable
from bondstone.documents.json_in_yaml import json_in_yaml

T = TypeVar("T")

REQUEST_SECONDS: Final = 30
_AT_ONCE: Final = 8
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_NOT_FOUND: Final = 404
_GONE: Final = 410
_UNAUTHORIZED: Final = 401
_BAD: Final = 400
_INVALID: Final = 422
_STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
_MERGE: Final = "application/merge-patch+json"
_NO_DRY_RUN: Final = "does not support dry run"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it."""

    root: str
    """`/api/v1` or `/apis/<group>/<version>`."""
    plural: str
    namespaced: bool
    categories: frozenset[str] = frozenset()
    """Groups of kinds that it is part of, as in `kubectl get managed`."""

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of all of a namespace."""
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{self.root}{place}/{self.plural}{'/' + quote(name, safe='') if name else ''}"


class Cluster:
    """One cluster, for the length of one activity.

    Credentials are read when it is made, and again when the API server no longer takes them: an activity may last
    longer than a token.

    Its methods block; call them by `asyncio.to_thread`.

    Args:
        connection: How to reach it.
        manager: What the API server notes as the manager of the fields that are set.
    """

    def __init__(self, connection: ClusterConnection, manager: str) -> None:
        self.connection = connection
        self.manager = manager
        self._known: dict[str, dict[str, Resource]] = {}
        self._lock = threading.Lock()
        self._was_accepted = False
        self._connect()

    def _connect(self) -> None:
        """Read the credentials.

        Raises:
            ToolUnavailable: when they cannot be used.
        """
        from kubernetes import client, config  # noqa: PLC0415 - a second and 50 MB, see above
        from kubernetes.config import ConfigException  # noqa: PLC0415

        connection = self.connection
        configuration: Any = client.Configuration()
        try:
            load: Any = config.load_kube_config
            load(
                config_file=str(connection.kubeconfig),
                context=connection.context or None,
                client_configuration=configuration,
                persist_config=False,
            )
        except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            raise _unusable(connection, short(str(error))) from None
        configuration.connection_pool_maxsize = _AT_ONCE
        self._base = str(configuration.host).rstrip("/")
        self._headers = {
            setting["key"]: setting["value"]
            for setting in configuration.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }
        if not self._headers and not configuration.cert_file:
            # the package only logs that a program failed, and continues without credentials
            raise _unusable(connection, "there are none, or the program for them printed none")
        self._client = client.ApiClient(configuration)
        self._pool: Any = self._client.rest_client.pool_manager

    @classmethod
    async def open(cls, connection: ClusterConnection, *, manager: str) -> Cluster:
        """A client, made off the event loop."""
        return await asyncio.to_thread(cls, connection, manager)

    @property
    def where(self) -> str:
        """The cluster, for errors."""
        return f"cluster {self.connection.name}"

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """One request; the decoded answer.

        Raises:
            ApiRefusal: when the API server refuses; `status` says how.
            ToolUnavailable: when it does not answer, or says that it is busy.
        """
        data = self._data(method, path, query=query, body=body, content=content, accept=accept)
        return json.loads(data) if data else None

    def text(self, path: str, *, query: Mapping[str, str]) -> str:
        """What is no JSON, as logs of pods.

        Raises:
            ApiRefusal: as `request`; ToolUnavailable too.
        """
        return self._data("GET", path, query=query, accept="*/*").decode("utf-8", "replace")

    def _data(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        url = f"{path}{'?' + urlencode(query) if query else ''}"
        headers = {"Accept": accept, "Content-Type": content}
        status, data = self._sent(method, url, headers, body)
        if status == _UNAUTHORIZED and self._was_accepted:
            self._connect()
            status, data = self._sent(method, url, headers, body)
        if len(data) > _MAX_ANSWER_BYTES:
            raise ToolFailed("the API server's answer is too large", where=f"{self.where} {path}")
        self._was_accepted = self._was_accepted or status != _UNAUTHORIZED
        if status >= 400:  # noqa: PLR2004 - HTTP's own
            raise refusal(f"{self.where} {method} {path}", status, data)
        return data

    def _sent(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> tuple[int, bytes]:
        """Status and content of one answer."""
        with self._answering(method, url, headers, body) as answer:
            data = answer.read(_MAX_ANSWER_BYTES + 1)
        return int(answer.status), bytes(data)

    @contextmanager
    def _answering(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Iterator[Any]:
        """One answer, to be read."""
        written = json_in_yaml if headers.get("Content-Type", "").endswith("yaml") else json.dumps
        try:
            answer = self._pool.request(
                method,
                f"{self._base}{url}",
                headers={**self._headers, **headers},
                body=None if body is None else written(body).encode(),
                timeout=urllib3.Timeout(connect=10, read=REQUEST_SECONDS),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                yield answer
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ToolUnavailable(
                f"the API server of cluster {self.connection.name!r} does not answer: {type(error).__name__}",
                where=self._base,
                hint="see whether the worker can reach it; it will be tried again",
            ) from None

    def watch(
        self, path: str, *, query: Mapping[str, str], seconds: float, is_enough: Callable[[Any], bool]
    ) -> bool:
        """Follow the changes of some objects until one is enough, or the time is up.

        Args:
            path: Of the objects.
            query: Which of them, and the `resourceVersion` after which changes count.
            seconds: How long the API server may take.
            is_enough: Judges each event, a mapping of `type` and `object`; it runs in this thread.

        Returns:
            Whether one was. It is False also where the API server has ended the watch, or no longer knows that
            version (410): list the objects again then.

        Raises:
            ApiRefusal: as `request`; ToolUnavailable too.
        """
        url = f"{path}?{urlencode({**query, 'watch': 'true', 'timeoutSeconds': str(max(1, round(seconds)))})}"
        with self._answering("GET", url, {"Accept": "application/json"}, None) as answer:
            if answer.status == _GONE:
                return False
            if answer.status >= 400:  # noqa: PLR2004 - HTTP's own
                raise refusal(f"{self.where} GET {path}", int(answer.status), answer.read(_MAX_ANSWER_BYTES))
            try:
                for event in map(json.loads, _lines(answer)):
                    if event.get("type") == "ERROR" or is_enough(event):
                        return bool(event.get("type") != "ERROR")
            finally:
                answer.close()  # the connection is in the middle of an answer, and no good for another request
            return False

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """Where a kind is served; None when the cluster does not know it."""
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        with self._lock:
            kinds = self._known.get(api_version)
        if kinds is None:
            listing = self._maybe("GET", root) or {}
            kinds = {
                item["kind"]: Resource(
                    root, item["name"], bool(item.get("namespaced")), frozenset(item.get("categories") or ())
                )
                for item in listing.get("resources") or ()
                if "/" not in item["name"]
            }
            with self._lock:
                self._known[api_version] = kinds
        return kinds.get(kind)

    def forget(self) -> None:
        """Look anew which kinds there are: some have been added."""
        with self._lock:
            self._known.clear()

    def placed(self, manifest: Mapping[str, Any], namespace: str) -> Ref:
        """The object that a manifest describes, its namespace filled in or taken off as its kind wants."""
        ref = Ref.of(manifest)
        resource = self.resource(ref.api_version, ref.kind)
        if resource is not None and not resource.namespaced:
            return Ref(ref.api_version, ref.kind, "", ref.name)
        return Ref(ref.api_version, ref.kind, ref.namespace or namespace, ref.name)

    def get(self, ref: Ref) -> dict[str, Any] | None:
        """An object; None when it, or its kind, is not there."""
        resource = self.resource(ref.api_version, ref.kind)
        item: dict[str, Any] | None = (
            self._maybe("GET", resource.path(ref.namespace, ref.name)) if resource is not None else None
        )
        return item

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> list[dict[str, Any]]:
        """The objects of a kind in a namespace, at most 2,000.

        Args:
            api_version: As in manifests.
            kind: As in manifests.
            namespace: Empty for all.
            labels: A label selector.
            fields: A field selector.
            metadata_only: Leave out all but their metadata.
        """
        resource = self.resource(api_version, kind)
        if resource is None:
            return []
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {"limit": "2000", **{name: text for name, text in selectors.items() if text}}
        accept = _METADATA_ONLY if metadata_only else "application/json"
        answer = self.request("GET", resource.path(namespace), query=query, accept=accept)
        items: list[dict[str, Any]] = answer.get("items") or []
        return items

    def would_be(
        self,
        ref: Ref,
        new: Mapping[str, Any],
        *,
        old: Mapping[str, Any],
        live: Mapping[str, Any],
        strict: bool = False,
    ) -> dict[str, Any] | None:
        """What an object would be once it follows its new manifest, as the API server says without doing it.

        What would be sent is what Helm and `kubectl apply` send, so the answer is what they would bring about.

        Args:
            ref: The object.
            new: The manifest to come.
            old: The one that was applied last.
            live: The object as it is.
            strict: Refuse fields that its kind does not have.

        Returns:
            None when the object is not there, or an admission webhook takes part in no dry run.

        Raises:
            ApiRefusal: when it would be refused; 422 for a field that cannot change.
        """
        try:
            return self._patch(ref, new, old, live, self._trial(strict=strict))
        except ApiRefusal as error:
            if error.status == _NOT_FOUND or _NO_DRY_RUN in error.message:
                return None
            raise

    def restore_custom(self, ref: Ref, manifest: Mapping[str, Any], live: Mapping[str, Any]) -> None:
        """Let a custom resource be again as its manifest says; what knows a strategic merge is left as it is.

        Raises:
            ApiRefusal: when it is refused.
        """
        if not is_built_in(ref.api_version):
            self._patch(ref, manifest, manifest, live, {"fieldManager": self.manager})

    def _patch(
        self,
        ref: Ref,
        new: Mapping[str, Any],
        old: Mapping[str, Any],
        live: Mapping[str, Any],
        query: Mapping[str, str],
    ) -> dict[str, Any] | None:
        """Send what leads from the live object to its manifest; what needs nothing is as it is."""
        resource = self.resource(ref.api_version, ref.kind)
        if resource is None:
            return None
        built_in = is_built_in(ref.api_version)
        before, after = ({key: value for key, value in each.items() if key != "status"} for each in (old, new))
        body = (strategic_patch if built_in else merge_patch)(before, after, live)
        if not body:
            return dict(live)
        content = _STRATEGIC_MERGE if built_in else _MERGE
        path = resource.path(ref.namespace, ref.name)
        patched: dict[str, Any] = self.request("PATCH", path, query=query, body=body, content=content)
        return patched

    def may_be(self, ref: Ref, manifest: Mapping[str, Any]) -> bool:
        """Whether the API server would take a new object, fields that its kind does not have refused.

        Returns:
            False when it cannot be asked: what the object stands on is not there yet, or an admission webhook
            takes part in no dry run.

        Raises:
            ApiRefusal: when the object is wrong in itself.
        """
        resource = self.resource(ref.api_version, ref.kind)
        if resource is None:
            return False
        try:
            self.request("POST", resource.path(ref.namespace), query=self._trial(strict=True), body=manifest)
        except ApiRefusal as error:
            if error.status == _INVALID or (error.status == _BAD and _NO_DRY_RUN not in error.message):
                raise
            return False
        return True

    def _trial(self, *, strict: bool) -> dict[str, str]:
        validation = "Strict" if strict else "Ignore"
        return {"dryRun": "All", "fieldManager": self.manager, "fieldValidation": validation}

    def each(self, work: Callable[[T], Any], items: Iterable[T]) -> Any:
        """Do something for each of some items, several at once; the results in their order."""
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            return [future.result() for future in [pool.submit(work, item) for item in items]]

    def close(self) -> None:
        """Let go of its connections."""
        self._pool.clear()

    def _maybe(self, method: str, path: str) -> Any:
        try:
            return self.request(method, path)
        except ApiRefusal as error:
            if error.status == _NOT_FOUND:
                return None
            raise


def _lines(answer: Any) -> Iterator[bytes]:
    """The lines of an answer, each as soon as it is whole."""
    rest = b""
    while data := answer.read1(_MAX_ANSWER_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        yield from filter(None, lines)


def _unusable(connection: ClusterConnection, why: str) -> ToolUnavailable:
    return ToolUnavailable(
        f"the credentials of cluster {connection.name!r} cannot be used: {why}",
        where=str(connection.kubeconfig),
        hint="check the kubeconfig; run its program for credentials by hand, as the worker's user",
    )
