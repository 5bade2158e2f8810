"""What starts fast stays fast: a start imports no heavy module that it does not need. No clock is read here."""

import subprocess
import sys

import pytest

from harness.light_api import Listed, a_service, serving

LATER = (
    "bondstone.client.documents.service",
    "bondstone.client.direct.preparing",
    "bondstone.client.direct.states",
    "bondstone.executors.protocol",
    "bondstone.model.campaign.run",
    "bondstone.policy",
    "bondstone.promise",
    "bondstone.store.state.log",
    "cel_expr_python",
    "cryptography",
    "jsonschema_rs",
    "kubernetes",
    "opentelemetry",
    "psutil",
    "re2",
    "regorus",
    "rich",
    "ruamel.yaml",
    "structlog",
    "temporalio.testing",
    "temporalio.worker",
)
"""What the client does not load before a verb asks for it."""

OF_A_REQUEST = ("bondstone.client.direct.preparing", "bondstone.promise", "ruamel.yaml")
"""What a request needs of it before it is sent: the manifest. The check of its inputs loads when there are any."""


def loaded(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a fresh interpreter has after running the code."""
    program = f"import sys\n{code}\nprint(*(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


def test_the_client_loads_only_what_every_verb_needs():
    assert loaded("import bondstone.client.direct.services", LATER) == []


def test_the_client_itself_loads_no_transport_and_no_models():
    heavy = (*LATER, "asyncio", "pydantic", "temporalio", "bondstone.client.direct", "bondstone.store")
    assert loaded("import bondstone.client", heavy) == []


def test_documents_load_no_transport():
    modules = ("campaign", "campaign_plan", "log", "policy", "promise", "schedule", "service", "state")
    code = "\n".join(f"import bondstone.client.documents.{module}" for module in (*modules, "step", "worker"))
    assert loaded(code, ("temporalio", "bondstone.temporal", "bondstone.store", "bondstone.client.direct")) == []


def test_a_workflow_loads_no_workflow_that_it_does_not_stand_on():
    """The SDK's sandbox imports it, and the package around it, for each run."""
    others = ("service", "operations", "notification", "served")
    heavy = tuple(f"bondstone.workflows.{module}" for module in others)
    assert loaded("import bondstone.workflows.campaign.workflow", heavy) == []


def test_promises_load_no_temporal_and_no_keys():
    assert loaded("import bondstone.client.direct.promises", ("temporalio", "cryptography")) == []


def test_a_request_loads_the_manifest_and_its_schema_and_no_more():
    code = (
        "import bondstone.cli.service.commands, bondstone.cli.views, bondstone.cli.waiting\n"
        "import bondstone.client.direct.services, bondstone.client.direct.preparing"
    )
    assert set(loaded(code, LATER)) == set(OF_A_REQUEST)


def test_a_list_over_http_loads_neither_models_nor_the_sdk(tmp_path):
    """The command itself, from its entry point to its rows."""
    with serving(tmp_path, Listed([a_service("shop/cart", phase="ready")])) as settings:
        token = (settings.data / "api-token").read_text().strip()
        environment = {"BOND_API": settings.api, "BOND_TOKEN": token, "BOND_DATA": str(tmp_path / "none")}
        code = (
            f"import os, sys\nos.environ.update({environment!r})\nsys.argv = ['bond', 'service', 'list']\n"
            "from bondstone.cli.app import main\nassert main() == 0"
        )
        printed = loaded(code, heavy := (*LATER, "pydantic", "pydantic_core", "temporalio"))
    assert "shop/cart" in printed
    assert not set(printed) & set(heavy)


OVER_HTTP = """
service list; service show shop/cart; service history shop/cart; service outputs shop/cart
service request queue shop/new; service update shop/cart --set a=1; service patch shop/cart
service upgrade shop/cart; service rollback shop/cart; service reconcile shop/cart
service decommission shop/cart --yes; service retry shop/cart; service cancel shop/cart
service pause shop/cart; service resume shop/cart; service label shop/cart a=b; service wait shop/cart
operation list; operation show shop/cart/op/1; operation plan shop/cart/op/1
approval list; approval approve shop/cart/op/1 --digest aaaaaaaaaaaaaaaa; promise list; promise show queue
policy list; policy show; access list; access show; access can service.read; campaign list; campaign show cve
campaign pause cve; campaign report cve; schedule list; schedule show nightly; schedule trigger nightly
freeze list; freeze delete winter; notification list; notification test hook; ledger verify; state log shop/cart
worker list; token list; whoami; export --all
"""
"""Commands of every noun, as far as an API without Temporal answers them."""


def test_no_command_over_http_loads_the_temporal_sdk(tmp_path):
    commands = [command.split() for command in OVER_HTTP.strip().replace("\n", ";").split(";")]
    with serving(tmp_path, Listed([a_service("shop/cart")])) as settings:
        token = (settings.data / "api-token").read_text().strip()
        environment = {"BOND_API": settings.api, "BOND_TOKEN": token, "BOND_DATA": str(tmp_path / "none")}
        program = (
            f"import os, sys\nos.environ.update({environment!r})\n"
            "from bondstone.client.http import transport\nfrom bondstone.cli.app import main\n"
            "transport.TRIES = 1\n"
            f"for command in {commands!r}:\n"
            "    sys.argv = ['bond', *command]\n"
            "    status = main()\n"
            "    sdk = [name for name in sys.modules if name.partition('.')[0] == 'temporalio']\n"
            "    assert status != 2, command\n"
            "    assert not sdk, (command, sdk)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
        )
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize(
    "module", ["bondstone.cli.service.commands", "bondstone.cli.operation", "bondstone.cli.up"]
)
def test_help_of_a_command_does_not_load_the_client(module):
    assert loaded(f"import {module}", (*LATER, "bondstone.client.direct", "temporalio")) == []


def test_starting_a_platform_loads_no_models_before_the_supervisor_runs():
    code = (
        "import bondstone.cli.up as up\n"
        "def stop(*_): raise SystemExit\n"
        "up.spawn = stop\n"
        "try: up._start_detached([])\n"
        "except SystemExit: pass"
    )
    assert (
        loaded(code, ("pydantic", "psutil", "bondstone.base.platform_file", "asyncio", "rich", "structlog")) == []
    )
