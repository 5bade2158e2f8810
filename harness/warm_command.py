"""The `bond` command as a process of its own, without the second that Python needs to start and import it.

A process that has everything imported, and has started no thread, forks for each command. The command has its own
arguments, environment, directory, standard streams and exit status, as if a shell had started it. What starting
costs and imports is the subject of other tests (`test_imports`, `test_readme_tour`), which start Python. Workers
come from the same process, see `harness.warm_workers`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bondstone.cli.app import COMMANDS, command_of, run
from harness.process_accounting import name_this_process
from harness.warm_workers import COMMAND, MAX_REQUEST, carry_out, import_all, is_told_the_same

PACKAGES: Final = ("bondstone.cli", "bondstone.client")
"""Loaded once, with all that is in them; what is missing here a command loads by itself."""
_MAX_DESCRIPTORS: Final = 16


class WarmCommand:
    """Runs `bond`; one for each process of tests, started with the first command. Any thread may run commands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        stdin_text: str | None,
        seconds: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end.

        Args:
            arguments: Of `bond`.
            environment: All of its variables.
            cwd: Where it runs.
            stdin_text: Its standard input; None for an empty one.
            seconds: The longest it may take.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was killed.
        """
        if not is_told_the_same(environment):  # it finds other modules, as executors of a test's own
            return subprocess.run(
                [sys.executable, "-m", COMMAND, *arguments],
                env=environment, cwd=cwd, input=stdin_text or "", capture_output=True, text=True, timeout=seconds,
                check=False,
            )  # fmt: skip
        request = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd)}
        answers, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            stdin.write((stdin_text or "").encode())
            stdin.seek(0)
            with answers:
                with its_end:
                    descriptors = [each.fileno() for each in (stdin, out, err, its_end)]
                    with self._lock:
                        socket.send_fds(self._started(), [json.dumps(request).encode()], descriptors)
                status = _outcome(answers, ["bond", *arguments], seconds)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        return subprocess.CompletedProcess(tuple(arguments), status, *texts)

    def connection(self) -> socket.socket:
        """To the process that forks; see `harness.warm_workers.fork_by`."""
        with self._lock:
            return self._started()

    def close(self) -> None:
        """End the process that forks."""
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait(timeout=60)
        self._requests = self._process = None

    def _started(self) -> socket.socket:
        if self._requests is None:
            self._requests, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its_end:
                descriptor = its_end.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(descriptor)],
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                    cwd=Path(__file__).parents[1],
                )
            atexit.register(self.close)
        return self._requests


WARM: Final = WarmCommand()


def _outcome(answers: socket.socket, command: Sequence[str], seconds: float) -> int:
    """The exit status of a command that was asked for."""
    pid = int(answers.recv(32))
    answers.settimeout(seconds)
    try:
        return int(answers.recv(32))
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(command, seconds) from None


# The process that forks -------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> None:
    """Fork for each request, until the tests' process is gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:
                    _say_how_it_ended(selector, key)
                    continue
                data, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, _MAX_DESCRIPTORS)
                if not data:
                    return
                request = json.loads(data)
                if "module" in request:
                    carry_out(requests, request, descriptors)
                    for descriptor in descriptors:
                        os.close(descriptor)
                else:
                    _carry_out(selector, request, descriptors)


def _carry_out(selector: selectors.BaseSelector, request: dict[str, Any], descriptors: list[int]) -> None:
    """Start a command, say its process id, and wait for its end beside other requests.

    Args:
        selector: What waits for ends.
        request: What `WarmCommand.run` sends.
        descriptors: Standard input, output, errors, and where to say the process id and the exit status.
    """
    *streams, answers = descriptors
    command = os.fork()
    if not command:
        _become(request, streams)
    for stream in streams:
        os.close(stream)
    connection = socket.socket(fileno=answers)
    with contextlib.suppress(OSError):  # nobody listens any more
        connection.send(str(command).encode())
    selector.register(os.pidfd_open(command), selectors.EVENT_READ, (command, connection))


def _say_how_it_ended(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Answer who has asked for a command."""
    selector.unregister(key.fileobj)
    os.close(key.fd)
    command, connection = key.data
    _, status = os.waitpid(command, 0)
    with connection, contextlib.suppress(OSError):  # nobody listens any more
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, Any], streams: Sequence[int]) -> None:
    """Be the command."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what commands that still run are waited for with
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["bond", *request["arguments"]]
    name_this_process("bond")
    try:
        run()
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        os._exit(1)  # `run` ends the process itself


def _main() -> None:
    name_this_process("warm")
    for package in PACKAGES:
        for each in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(each.name)
    for name, (module, _) in COMMANDS.items():
        command_of(name, module)  # what each command would build anew
    import_all()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests)


if __name__ == "__main__":
    _main()
