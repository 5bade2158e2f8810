"""The client over the HTTP API: the same nouns, verbs and documents, without Temporal's SDK and without keys."""
