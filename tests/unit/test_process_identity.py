"""A process says who it is in one way, and another one can tell that it is gone."""

from __future__ import annotations

import os
import subprocess
import sys

from bondstone.base.process_identity import is_gone, poller_identity


def test_a_process_that_ended_is_gone_and_no_other() -> None:
    me = poller_identity("control")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    theirs = me.replace(f":{os.getpid()}", f":{ended.pid}")
    ended.wait(60)
    assert is_gone(theirs)
    assert not is_gone(me)
    host = me.partition("@")[2].rpartition(":")[0]
    elsewhere = theirs.replace(f"@{host}:", "@elsewhere:")
    assert not is_gone(elsewhere), "its host may have such a process"
    for odd in ("", "control", f"control@{host}:", f"control@{host}:many"):
        assert not is_gone(odd)
