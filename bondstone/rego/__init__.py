"""Engines that evaluate Rego behind one seam, each in a process of its own: OPA itself, and regorus."""
