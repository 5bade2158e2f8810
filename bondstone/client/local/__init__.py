"""What needs no running platform, only its data directory or key files: backups, payload keys, attested arguments.

It works on this machine's files. Everything that asks a platform is a noun of `bondstone.client.Bondstone`.
"""
