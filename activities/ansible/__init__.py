"""The adapter to Ansible. Importing it costs next to nothing: what works is imported by the call that needs it."""

from bondstone.activities.ansible.executor import AnsibleExecutor

__all__ = ["AnsibleExecutor"]
