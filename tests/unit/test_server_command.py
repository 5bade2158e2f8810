"""What the embedded Temporal server is told on its command line."""

import itertools
import json
from pathlib import Path

from workers.embedded import DYNAMIC_CONFIG, temporal_command


def test_dynamic_configuration_reaches_the_server_as_the_values_it_has_here():
    # The server goes on with a mere warning when it cannot convert one, as a duration in quotes of its own.
    arguments = temporal_command(Path("temporal"), Path("data"), 7233, 8233).arguments
    given = [value for flag, value in itertools.pairwise(arguments) if flag == "--dynamic-config-value"]
    told = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in given)}
    assert told == DYNAMIC_CONFIG
    assert not [name for name, value in told.items() if isinstance(value, str) and '"' in value]
