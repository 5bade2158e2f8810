"""Campaigns on pages: each and all, and the form that makes one."""
