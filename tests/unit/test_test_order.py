"""Which file of tests a process gets next."""

from __future__ import annotations

from pathlib import Path

from harness.test_order import SECONDS, chosen, ordered, servers

ROOT = Path(__file__).parents[2]


def test_every_file_that_goes_first_is_there():
    assert [file for file in SECONDS if not (ROOT / file).is_file()] == []


def test_the_longest_go_first_and_the_others_keep_their_order():
    first, second = list(SECONDS)[:2]
    assert ordered(["b", second, "a", first]) == [first, second, "b", "a"]


def test_a_server_is_started_a_second_time_only_when_nothing_else_is_left():
    needs = {"kubernetes": frozenset({"control_plane"}), "plain": frozenset()}
    assert chosen(needs, running=set(), others=set()) == "kubernetes"
    assert chosen(needs, running=set(), others={"control_plane"}) == "plain"
    assert chosen(needs, running={"control_plane"}, others={"control_plane"}) == "kubernetes"
    assert chosen({"kubernetes": needs["kubernetes"]}, running=set(), others={"control_plane"}) == "kubernetes"


def test_the_servers_of_a_file_are_the_fixtures_that_it_takes():
    assert "control_plane" in servers(ROOT / "tests/integration/test_helm_kinds.py")
    assert "platform" in servers(ROOT / "tests/integration/test_cli_services.py")
    assert "platform" in servers(ROOT / "tests/integration/test_parts.py"), "its own has the session's"
    assert "platform" not in servers(ROOT / "tests/integration/test_cli_daily.py"), "its own is another"
    assert "platform" not in servers(ROOT / "tests/integration/test_traces.py")
    assert servers(Path(__file__)) == frozenset()
