"""What the processes of an embedded platform are told."""

import itertools
import json
from pathlib import Path

from bondstone.base.settings import Settings
from bondstone.workers.embedded import DYNAMIC_CONFIG, temporal_command, worker_commands


def test_dynamic_configuration_reaches_the_server_as_the_values_it_has_here():
    # The server goes on with a mere warning when it cannot convert one, as a duration in quotes of its own.
    arguments = temporal_command(Path("temporal"), Path("data"), 7233, 8233).arguments
    inputs = [value for flag, value in itertools.pairwise(arguments) if flag == "--dynamic-config-value"]
    told = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in inputs)}
    assert told == DYNAMIC_CONFIG
    assert not [name for name, value in told.items() if isinstance(value, str) and '"' in value]


def test_workers_of_an_embedded_platform_have_no_build_for_nobody_would_promote_it(tmp_path):
    settings = Settings(data=tmp_path, build_id="1.5.0")
    told = [command.environment["BOND_BUILD_ID"] for command in worker_commands(settings, new=False)]
    assert told
    assert not any(told)
