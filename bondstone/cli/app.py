"""The `bond` command: its root, and the one place where errors become words and exit codes.

Sub-commands live in modules of their own and are imported when they are called, so `bond --help` is fast. Such a
module has a `typer.Typer` called `app`. To add one, add one line to `COMMANDS`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bondstone import __version__
from bondstone.base.processes import leave
from bondstone.cli import context
from bondstone.cli.arguments import prepare
from bondstone.terminal.display import display
from bondstone.terminal.output import OutputFormat, examples, print_error, requested_format

if TYPE_CHECKING:
    from bondstone.base.errors import ErrorInfo

COMMANDS = {
    "up": ("bondstone.cli.up", "start the embedded platform and print its URLs"),
    "down": ("bondstone.cli.up", "stop the embedded platform; its data stays"),
    "status": ("bondstone.cli.up", "what runs, where, and is it healthy"),
    "doctor": ("bondstone.cli.care", "look over the store, keys, access, ledgers and work that is stuck"),
    "backup": ("bondstone.cli.care", "write the embedded platform's data into one file"),
    "restore": ("bondstone.cli.care", "make a data directory of a backup"),
    "setup": (
        "bondstone.cli.setup",
        "prepare Temporal and a store for workers that run elsewhere than in `bond up`",
    ),
    "demo": ("bondstone.cli.demo.tour", "the guided tour: real services by real Terraform, in a minute or two"),
    "promise": (
        "bondstone.cli.promise.commands",
        "what the platform offers: init, validate, test, publish, list, show, deprecate, yank",
    ),
    "policy": ("bondstone.cli.policy", "the organisation's rules: publish, list, show, check, test"),
    "service": (
        "bondstone.cli.service.commands",
        """instances of promises: request, adopt, list, show, wait, outputs, logs, history, update, edit, patch,
        upgrade, rollback, reconcile, retry, cancel, pause, resume, label, abandon, decommission, tree, archive""",
    ),
    "operation": ("bondstone.cli.operation", "runs of work on services: list, show, plan, logs, wait"),
    "approval": ("bondstone.cli.approval", "plans that wait for people: list, approve, reject"),
    "apply": ("bondstone.cli.apply", "make services, campaigns and promises as manifests say, for GitOps"),
    "diff": ("bondstone.cli.apply", "show what differs from manifests"),
    "export": ("bondstone.cli.apply", "print a service as the manifest that `bond apply` takes"),
    "schema": ("bondstone.cli.schema", "JSON Schemas of what people write, for editors: show, write"),
    "campaign": (
        "bondstone.cli.campaign.commands",
        """one operation over a fleet: validate, preview, run, list, show, wait, report, pause, resume, abort,
        skip, retry, reject, approve, set-concurrency, next-wave, rollback""",
    ),
    "schedule": (
        "bondstone.cli.schedule",
        "campaigns that start by themselves: create, update, list, show, pause, resume, trigger, backfill, delete",
    ),
    "freeze": ("bondstone.cli.freeze", "times in which campaigns start nothing: create, list, delete"),
    "events": ("bondstone.cli.events", "what happened, and with -w what happens"),
    "top": ("bondstone.cli.top", "the platform at a glance: what runs, waits, failed, and who works"),
    "state": ("bondstone.cli.state", "Terraform state of a step: pull, push, log"),
    "access": ("bondstone.cli.access", "who may do what: publish, validate, list, show, can, refusals"),
    "token": ("bondstone.cli.token", "API tokens of programs: create, list, revoke"),
    "attest": ("bondstone.cli.attest", "sign an argument for who speaks to Temporal themselves"),
    "notification": (
        "bondstone.cli.notification",
        "who is told of what happens: create, list, test, deliveries, retry, delete",
    ),
    "mcp": ("bondstone.cli.mcp", "tools for an agent: read, explain, preview, change"),
    "ledger": ("bondstone.cli.ledger", "the permanent record of what was done: verify, export, anchor"),
    "worker": ("bondstone.cli.worker", "builds of the control workers: list, promote, evict"),
    "open": ("bondstone.cli.open_url", "show a service, operation or campaign in the browser"),
    "login": ("bondstone.cli.login", "sign in at a platform's API with its provider"),
    "logout": ("bondstone.cli.login", "end the sign-in"),
    "whoami": ("bondstone.cli.whoami", "who asks, and on which platform"),
    "context": ("bondstone.cli.context_commands", "platforms by name: list, use, add, remove, show"),
    "codec": ("bondstone.cli.codec", "encryption of what Temporal keeps: serve, add-key, activate"),
    "config": ("bondstone.cli.up", "the effective settings, and where each comes from"),
}
"""Name: the module, and what `bond --help` says. A module whose `app` has a command of that very name gives that
command; else its whole `app` is the command group."""

_EXTRA = "unexpected extra argument"

app = typer.Typer(
    name="bond",
    help="Request infrastructure services, and have them managed until they are decommissioned.",
    epilog=examples(
        "bond up --detach                 start a platform on this machine",
        "bond demo                        watch it work",
        "bond promise list                what can be requested",
        "bond service request queue payments/events --wait",
        "bond service list -o json",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # plain help: importing rich's costs half a second
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_wanted:
        typer.echo(f"bond {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="the platform's data directory, else BOND_DATA, else the user's own"
        ),
    ] = None,
    actor: Annotated[
        str, typer.Option("--as", metavar="NAME", help="who is asking, else BOND_AS, else the OS user")
    ] = "",
    named: Annotated[
        str,
        typer.Option("--context", metavar="NAME", help="the platform, by its name in `bond context list`"),
    ] = "",
    utc: Annotated[bool, typer.Option("--utc", help="times in full and in UTC, instead of ages")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="tables without titles")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="print the version and exit", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    context.options.actor = actor
    context.choose(data, named)
    display.utc, display.headers = utc, not no_headers


class _LazyCommand(TyperGroup):
    """Stands in for a command until it is called; only then its module is imported."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name=name, short_help=" ".join(summary.split()))
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which from here on takes over."""
        context.options.command = self.loaded().make_context(info_name, args, parent, **extra)
        return context.options.command

    def loaded(self) -> Any:
        """The real command."""
        return command_of(self.name or "", self._module)


@functools.cache
def command_of(name: str, module: str) -> Any:
    """The command of a module; a process that runs several builds it once."""
    typer_app: typer.Typer = importlib.import_module(module).app
    typer_app.rich_markup_mode = None
    typer_app.pretty_exceptions_enable = False
    group = typer.main.get_group(typer_app)
    command = group.commands.get(name, group)
    command.name = name
    for each in getattr(command, "commands", {}).values():
        each.short_help = _first_sentence(each.help or "")  # whole: lists of commands wrap it
    return command


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") + "." if paragraph else ""


def build() -> TyperGroup:
    """The whole command tree, with those sub-commands whose modules are there."""
    root = typer.main.get_command(app)
    if not isinstance(root, TyperGroup):
        raise TypeError("the root command has a callback, so it is a group")
    for name, (module, summary) in COMMANDS.items():
        if importlib.util.find_spec(module) is not None:
            root.add_command(_LazyCommand(name, module, summary))
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bond` and return its exit code; see `docs/reference` for what each means."""
    status = _main(arguments)
    if context.options.ended is not None:
        context.options.ended(status)
    return status


def _main(arguments: Sequence[str] | None) -> int:
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    output = requested_format(command_line)
    try:
        result = build()(args=prepare(command_line), prog_name="bond", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        return 130
    except BrokenPipeError:
        # Whoever read us has left. Python would flush again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the one place that turns everything into words
        return fail(error, output, command_line)
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def fail(error: Exception, output: OutputFormat, command_line: Sequence[str] = ()) -> int:
    """Say in words what went wrong, and return the exit code for it.

    Args:
        error: What happened.
        output: As what to say it.
        command_line: The words after `bond`.
    """
    if os.environ.get("BOND_DEBUG") == "1":
        import traceback  # noqa: PLC0415 - only when asked

        traceback.print_exception(error)
    info, exit_code = explain(error)
    if any(word.startswith("--secret") for word in command_line) and _EXTRA in info.message:
        # `--secret password hunter2`: what is too much may be the secret
        info = info.changed(
            message=f"Got {_EXTRA}",
            hint="--secret takes the path of an input; type its value when asked, or pipe it in",
        )
    if info.message:
        print_error(info, output)
    return exit_code


def explain(error: Exception) -> tuple[ErrorInfo, int]:
    """Any exception in words, with its exit code."""
    from bondstone.base.data_directory import default_data_dir  # noqa: PLC0415 - half a second, paid only by failures
    from bondstone.terminal import error_text  # noqa: PLC0415

    if isinstance(error, typer.TyperException):
        return _usage(error)
    return error_text.explain(error, (context.options.data or default_data_dir()) / "log")


def _usage(error: typer.TyperException) -> tuple[ErrorInfo, int]:
    """A mistake on the command line."""
    from bondstone.base.errors import ErrorInfo, InvalidInput  # noqa: PLC0415 - half a second, paid only by failures

    where = getattr(getattr(error, "ctx", None), "command_path", "bond")
    message = error.format_message()
    # `no_args_is_help` arrives as an error whose message is the whole help
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return ErrorInfo(code=InvalidInput.code, message=""), InvalidInput.exit_code
    hint = f"'{where} --help' says what it takes"
    return ErrorInfo(code=InvalidInput.code, message=message, where=where, hint=hint), InvalidInput.exit_code


def run() -> NoReturn:
    """Run `bond` as a process of its own; `bondstone.cli.entry` calls it."""
    leave(main())


if __name__ == "__main__":
    run()
