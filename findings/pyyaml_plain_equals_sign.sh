#!/usr/bin/env bash
# PyYAML: the safe loaders refuse a plain `=`, which every other reader of Kubernetes manifests takes for a text.
#
# Version: PyYAML 6.0.3 (pure Python and C loader), Python 3.11.
# Behaviour: a plain `=` is resolved to the tag `tag:yaml.org,2002:value` of YAML 1.1, for which SafeConstructor has no
# constructor, so that loading raises ConstructorError. The CRDs of prometheus-operator hold `enum: [=, !=, ...]`.
# Seen: "SafeLoader: ConstructorError", "CSafeLoader: ConstructorError", and "quoted: {'enum': ['=']}". Exits 1 if one of the
# first two loads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check PyYAML==6.0.3
"$work/venv/bin/python" - <<'PYTHON'
import sys

import yaml

loaded = 0
for loader in (yaml.SafeLoader, yaml.CSafeLoader):
    try:
        print(f"{loader.__name__}: {yaml.load('enum: [=]', Loader=loader)}")
        loaded += 1
    except yaml.constructor.ConstructorError as error:
        print(f"{loader.__name__}: {type(error).__name__}")
print("quoted:", yaml.safe_load("enum: ['=']"))
sys.exit(1 if loaded else 0)
PYTHON
