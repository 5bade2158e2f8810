"""The executor `kubernetes`: objects by server-side apply.

What it has applied is kept in the step's state log: an inventory of objects with their uids, and the manifests as
they were applied. That fences attempts, and tells what to prune, what has drifted and what to take down.
"""

from bondstone.activities.kubernetes.executor import KubernetesExecutor

__all__ = ["KubernetesExecutor"]
