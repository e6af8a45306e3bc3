"""Screening with networks on a GPU: many processes read and featurize, one owns the GPU.

The workers of a screen (:mod:`polyml.screening.pool`) send their batches to the owner (:mod:`polyml.models.nn.serving`)
and wait; none of them opens the device. An owner that dies is started again, and what it was asked is asked again. How
a chunk is cut into batches depends on the chunk alone, and batches are not merged, so a screen that is resumed gives
the same bytes; where the memory of the GPU ran out, to within float32 rounding.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.errors import UserError
from polyml.interrupts import deaf_children
from polyml.models.base import PolymerModel
from polyml.models.inspect import network_accelerators
from polyml.screening.local import Chunks, make_pool, screen_in_processes
from polyml.screening.pool import process_context
from polyml.settings import screen_device

if TYPE_CHECKING:
    from polyml.models.nn.serving import Address

_DEATHS = 5  # of owners in a row that have not predicted anything
_MOST_DEATHS = 100
_FIX = "let the workers predict on the CPU (POLYML_SCREEN_DEVICE=none), or free memory of the GPU and go on with resume"


def owned_device(models: Sequence[PolymerModel]) -> str | None:
    """Return the device on which a process of its own is to predict for the workers; None where none is needed.

    Parameters
    ----------
    models : sequence of PolymerModel
    """
    wanted = {name for model in models for name in network_accelerators(model)} - {"cpu"}
    forced = screen_device()
    if not wanted or forced == "none":
        return None
    if forced is not None:
        return forced
    from polyml.models.nn.devices import inference_device

    found = sorted(str(inference_device(name)) for name in wanted)
    return next((device for device in found if device != "cpu"), None)


def extra_workers(jobs: int) -> int:
    """Return how many workers there are beyond ``jobs``, so that the cores are busy while some wait for the GPU.

    By its arithmetic a chunk takes a GPU a few hundredths of the time that it takes a core to featurize, so one for
    every eight is enough; each costs the memory of the libraries and the models.
    """
    return -(-(jobs - 1) // 8)


def screen_watched(
    chunks: Chunks, models: Sequence[PolymerModel], jobs: int, given: tuple[Any, ...], limit: float
) -> Generator[tuple[int, int], None, None]:
    """Screen in watched processes, and on a GPU where the models may use one; yield as ``screen_in_processes`` does.

    Parameters
    ----------
    chunks : Chunks
    models : sequence of PolymerModel
        All that the workers ask.
    jobs : int
    given : tuple
        What ``start_worker`` is given.
    limit : float
        Seconds for one candidate.
    """
    device = owned_device(models)
    if device is None:
        yield from screen_in_processes(chunks, make_pool(jobs, given, limit))
        return
    with OwnedDevice(device) as owned:
        chunks.check = owned.check
        pool = make_pool(jobs + extra_workers(jobs), (*given, owned.address), limit)
        with closing(screen_in_processes(chunks, pool)) as results:
            yield from results


def with_steady_batches(
    results: Generator[tuple[int, int], None, None], models: Sequence[PolymerModel]
) -> Generator[tuple[int, int], None, None]:
    """Yield the results of a screen in this process, with batches for a GPU that are cut alike in every run."""
    wanted = {name for model in models for name in network_accelerators(model)} - {"cpu"}
    if not wanted:
        yield from results
        return
    from polyml.models.nn.devices import inference_device
    from polyml.models.nn.predict import LocalRunner, run_elsewhere

    devices = {inference_device(name) for name in wanted}
    run_elsewhere(LocalRunner(devices.pop(), grows=False) if len(devices) == 1 else None)
    try:
        with closing(results):
            yield from results
    finally:
        run_elsewhere(None)


class OwnedDevice:
    """A process that owns a device, started again when it dies; a context.

    Parameters
    ----------
    device : str
        As torch names it.

    Attributes
    ----------
    address : Address
        For the processes that have it predict.
    """

    address: Address

    def __init__(self, device: str) -> None:
        import polyml.models.nn.serving  # noqa: F401  # so that it is read once for all processes

        self._device, self._context = device, process_context()
        self._error: UserError | None = None
        self._is_over = False
        self._deaths = self._in_a_row = 0

    def __enter__(self) -> OwnedDevice:
        from polyml.models.nn.serving import Address

        self._folder = Path(tempfile.mkdtemp(prefix="polyml-"))
        name = rf"\\.\pipe\{self._folder.name}" if sys.platform == "win32" else str(self._folder / "gpu")
        notes = self._context.RawArray("q", 2)
        self.address = Address(name, secrets.token_bytes(32), self._device, notes)
        with deaf_children():
            self._process, self._connection = self._start()
        self._watch = threading.Thread(target=self._look_after, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        while self._watch.is_alive():  # one may just be starting
            self._process.kill()
            self._watch.join(timeout=0.1)
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self) -> None:
        """Raise what makes it useless to go on.

        Raises
        ------
        UserError
            The device cannot be used, or the process dies again and again.
        """
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        """Number of the process that owns the device now."""
        return self._process.pid or 0

    def _start(self) -> tuple[BaseProcess, Connection]:
        from polyml.models.nn.serving import own

        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=own, args=(self.address, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _look_after(self) -> None:
        """Hear the process out until it ends, and start another: the work of a thread."""
        try:
            self._keep_alive()
        except Exception as error:  # the workers would wait for ever for an owner that nobody starts
            what = f"the process that predicts on '{self._device}' cannot be started again: {error}"
            self._error = self._error or UserError(what, fix=_FIX)

    def _keep_alive(self) -> None:
        while not self._is_over:
            self._hear()
            self._process.join()
            self._connection.close()
            if self._is_over or self._error is not None or self._is_hopeless():
                return
            self.address.notes[:] = [0, self.address.notes[0]]
            with suppress(OSError):
                Path(self.address.path).unlink()
            time.sleep(min(0.2 * self._in_a_row, 2.0))
            self._process, self._connection = self._start()

    def _hear(self) -> None:
        from polyml.models.nn.serving import ANSWERED, UNUSABLE

        with suppress(EOFError, OSError):
            while True:
                kind, words = self._connection.recv()
                if kind == ANSWERED:
                    self._in_a_row = 0
                elif kind == UNUSABLE:
                    what = f"the device '{self._device}' cannot be used: {words}"
                    self._error = UserError(what, fix=_FIX)

    def _is_hopeless(self) -> bool:
        self._deaths, self._in_a_row = self._deaths + 1, self._in_a_row + 1
        if self._in_a_row < _DEATHS and self._deaths < _MOST_DEATHS:
            return False
        what = f"the process that predicts on '{self._device}' died {self._deaths} times"
        self._error = UserError(f"{what} (exit code {self._process.exitcode})", fix=_FIX)
        return True
