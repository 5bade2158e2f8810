"""Who somebody is and what they may do.

`access` decides, `verbs` is the table it decides by, `document` reads access documents, `authenticator` turns
credentials into callers. The models are in `bondstone.model.identity`.
"""
