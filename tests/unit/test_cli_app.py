"""The root of `bond`: exit codes, the one error format, global options, lazy sub-commands."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import typer

from bondstone import __version__
from bondstone.base import errors
from bondstone.cli import app as root
from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """A `bond fail` command that raises what the test puts into `.error`."""
    module = types.ModuleType("failing_command")
    module.app = typer.Typer()
    module.error = None

    @module.app.command()
    def fail(size: int = 0, *, output: Output = OutputFormat.TABLE):
        """Fail.

        Always.
        """
        if module.error is not None:
            raise module.error

    @module.app.command()
    def other():
        """Something else."""

    fail.__globals__.update(Output=Output, OutputFormat=OutputFormat)
    monkeypatch.setitem(sys.modules, "failing_command", module)
    known = {"failing_command": True, "not.there": None}
    find_spec = root.importlib.util.find_spec
    monkeypatch.setattr(
        root.importlib.util,
        "find_spec",
        lambda name, *rest: known[name] if name in known else find_spec(name, *rest),
    )
    monkeypatch.setattr(root, "COMMANDS", {"fail": ("failing_command", "fails"), "gone": ("not.there", "is not")})
    monkeypatch.setattr(root, "command_of", root.command_of.__wrapped__)  # each test has a module of its own
    monkeypatch.setattr(context, "options", context.GlobalOptions())
    monkeypatch.setenv("BOND_DATA", str(tmp_path))
    monkeypatch.delenv("BOND_DEBUG", raising=False)
    return module


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_rule_9_every_error_class_has_its_exit_code_and_its_code_on_screen(failing, capsys, code):
    cls = errors.BY_CODE[code]
    failing.error = cls("it went wrong", where="here", hint="do that")
    assert root.main(["fail"]) == cls.exit_code
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == f"error[{code}]: it went wrong"
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_with_json_an_error_is_one_object(failing, capsys):
    failing.error = errors.NotFound("no such service", where="a/b", hint="look")
    assert root.main(["fail", "-o", "json"]) == 3
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["fail", "--nonsense"], ["fail", "--size", "x"], ["fail", "-o", "x"], ["--data"]]
)
def test_wrong_usage_is_exit_code_2_in_the_same_format(failing, capsys, arguments):
    assert root.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[INVALID_INPUT]: ")
    assert "--help" in err


def test_wrong_usage_with_json_is_an_object_too(failing, capsys):
    assert root.main(["fail", "--nonsense", "-o", "json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["where"] == "bond fail"


def test_a_misspelt_command_gets_a_suggestion(failing, capsys):
    assert root.main(["fial"]) == 2
    assert "'fail'" in capsys.readouterr().err


def test_ctrl_c_is_130(failing, capsys):
    failing.error = KeyboardInterrupt()
    assert root.main(["fail"]) == 130


def test_rule_9_an_unexpected_exception_shows_no_traceback_but_says_where_it_is(failing, capsys, tmp_path):
    failing.error = RuntimeError("kaboom")
    assert root.main(["fail"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error[INTERNAL]: ")
    assert "Traceback" not in err
    (details,) = (tmp_path / "log").iterdir()
    assert str(details) in err
    assert "RuntimeError: kaboom" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600


def test_bond_debug_shows_the_traceback(failing, capsys, monkeypatch):
    monkeypatch.setenv("BOND_DEBUG", "1")
    failing.error = RuntimeError("kaboom")
    assert root.main(["fail"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "D", "--as", "ann", "fail"],
        ["fail", "--data", "D", "--as", "ann"],
        ["fail", "--data=D", "--size", "1", "--as=ann"],
    ],
)
def test_global_options_may_stand_anywhere(failing, arguments):
    assert root.main(arguments) == 0
    assert context.options.data == Path("D")
    assert context.actor() == "ann"


def test_after_two_dashes_nothing_is_an_option(failing, capsys):
    assert root.main(["fail", "--", "--data", "D"]) == 2
    assert context.options.data is None


def test_the_version_is_told_without_a_command(capsys):
    assert root.main(["--version"]) == 0
    assert capsys.readouterr().out == f"bond {__version__}\n"


def test_commands_whose_module_is_not_there_are_not_offered(failing, capsys):
    assert root.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "fail" in out
    assert "gone" not in out


def test_help_of_the_root_imports_no_command_and_nothing_heavy():
    heavy = ["pydantic", "temporalio", "rich", "structlog", "asyncio", "bondstone.base.errors", "bondstone.cli.up"]
    code = (
        "import sys; from bondstone.cli.app import main; status = main(['--help']);"
        f"print([name for name in {heavy} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
