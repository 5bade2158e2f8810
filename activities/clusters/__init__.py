"""Kubernetes clusters of a pool, as Helm and the Kubernetes API are told of them.

`connect` turns the name that a step gives into a `ClusterConnection`: a kubeconfig, for tools and for `Cluster`.
"""

from bondstone.activities.clusters.connection import ClusterConnection, connect

__all__ = ["ClusterConnection", "connect"]
