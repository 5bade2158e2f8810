"""The page of roles and verbs: from `bondstone.identity.verbs`."""

from __future__ import annotations

from bondstone.identity.verbs import VERBS
from bondstone.model.identity import ADMIN, ROLES

PAGE = "docs/reference/access.md"

HEAD = """# Who may do what

An *access document* grants roles to subjects in a scope. What it does not grant is refused, in words that name the
missing role. `bond access publish` puts one in force, `bond access can` asks it.

```yaml
apiVersion: bondstone.dev/v1
kind: Access
metadata:
  reason: the platform team and the first two product teams
spec:
  grants:
    - subjects: [{group: platform}]
      roles: [admin]
      scope: everything
    - subjects: [{group: payments}, {user: ada@example.com}]
      roles: [developer]
      scope: {teams: [payments]}
    - subjects: [{group: dba}]
      roles: [viewer, "approver:dba"]
      scope: {promises: [postgres]}
    - subjects: [{claim: {issuer: "https://ci.example.com", name: repository, value: payments/orders}}]
      roles: [developer]
      scope: {teams: [payments], labels: {env: staging}}
```

- A subject is one of `user`, `group`, `token` (an API token by its name), `claim` (of a token of that issuer) and
  `anyone: true` (whoever has signed in).
- A scope is `everything`, or names `teams`, `promises` and `labels`: all that are named must fit, of several teams or
  promises any one. A target without a team is outside every scope that names teams.
- Roles add up. A verb of the whole platform, such as `policy.publish`, needs a grant with `scope: everything`.
- `BOND_ADMINS` names administrators that no document can take away: `["user:ada@example.com", "group:platform"]`.
- A preview of a campaign, its counts and what it says of a selection that is not valid are of the services that the caller may
  see, as if there were no others; `scope` in the preview says so. A campaign whose targets include others is refused when it
  starts, without their names and their number.

## Roles

| role | what it is for |
|---|---|
"""

MIDDLE = """
## Verbs

*Where* says where a role must hold: in a grant whose scope covers the target, or in any grant.

"""


def text() -> str:
    """The whole page."""
    shown = {role: f"`{role}`" if role != "approver" else "`approver:<role>`" for role in ROLES}
    roles = "".join(f"| {shown[role]} | {does} |\n" for role, does in ROLES.items())
    columns = [role for role in ROLES if role != ADMIN]
    head = f"| verb | what it does | where | {' | '.join(columns)} | {ADMIN} |\n"
    rule = "|---|---|---|" + "---|" * (len(columns) + 1) + "\n"
    rows = ""
    for verb in VERBS.values():
        marks = " | ".join("yes" if verb.allows(role) else "" for role in columns)
        where = "scope" if verb.where == "scope" else "anywhere"
        rows += f"| `{verb.name}` | {verb.does} | {where} | {marks} | yes |\n"
    return HEAD + roles + MIDDLE + head + rule + rows
