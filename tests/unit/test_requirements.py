"""What a promise requires: in which order promises can be published."""

from __future__ import annotations

from bondstone.promise.load import load_promise
from bondstone.promise.requirements import parts_first
from bondstone.promises import catalogue


def test_a_promise_is_published_behind_those_it_requires() -> None:
    promises = [load_promise(folder) for folder in catalogue()]
    names = [promise.name for promise in parts_first(reversed(promises))]
    compound = [promise for promise in promises if promise.spec.requires]
    assert compound, "the catalogue has a compound promise"
    for promise in compound:
        for part in promise.spec.requires:
            assert names.index(part.promise) < names.index(promise.name)
    assert sorted(names) == sorted(promise.name for promise in promises)
