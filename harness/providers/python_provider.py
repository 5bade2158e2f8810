"""oidc-provider-mock for tests, run by an interpreter of its own: `python python_provider.py PORT`.

The people are ada and eve; whoever is chosen on its page is signed in.
"""

from __future__ import annotations

import logging
import sys

from oidc_provider_mock import User, app  # type: ignore[import-not-found] # of the provider's own environment
from werkzeug.serving import make_server  # type: ignore[import-not-found] # of the same

PEOPLE = [
    User(
        sub=name,
        claims={"email": f"{name}@example.com", "email_verified": True, "name": name.title(), "groups": groups},
    )
    for name, groups in (("ada", ["platform"]), ("eve", ["payments"]))
]

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", int(sys.argv[1]), app(require_nonce=True, user_claims=PEOPLE), threaded=True)
print("ready", flush=True)
server.serve_forever()
