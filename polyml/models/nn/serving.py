"""One process that owns a GPU, and the processes that have it predict.

The owner listens on a socket; who asks sends a batch, waits, and gets the predictions. Batches of several askers are
not merged: what a batch gives depends on nothing but the batch. Each asker has one batch under way, so no more of them
wait than there are askers. A network is sent once and known by the digest of its content from then on.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from polyml.errors import PolymlError
from polyml.models.nn.devices import BatchSize, BatchTooLarge
from polyml.models.nn.predict import LocalRunner, Networks, Predicted
from polyml.workers import keep_to_threads

AT_WORK, BLAMED = 0, 1
"""Places of :attr:`Address.notes`: the process whose batch is computed, and whose was when the owner last died."""
READY, ANSWERED, UNUSABLE = "ready", "answered", "unusable"
"""What the owner tells who started it: it listens; it has predicted a first batch; it has no use of the device."""
_STUCK = 120.0  # seconds for one batch, after which the owner gives itself up
_STRIKES = 3  # times that a batch may take the owner down
_TICK = 1.0


@dataclass(frozen=True)
class Address:
    """Where the owner of a device is found.

    Attributes
    ----------
    path : str
        Of its socket, alone in its folder; on Windows the name of a pipe.
    secret : bytes
        Who does not know it is not heard.
    device : str
    notes : shared array of int
        See :data:`AT_WORK`.
    """

    path: str
    secret: bytes
    device: str
    notes: Any


def pack(value: Any) -> bytes:
    """Return a value as bytes for another process of this program, the same for the same content.

    Tensors travel as arrays: torch would pass them through shared memory, which a killed process leaves behind.
    """
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=5)
    pickler.dispatch_table = copyreg.dispatch_table | {torch.Tensor: _taken_apart, torch.nn.Parameter: _taken_apart}
    pickler.dump(value)
    return stream.getvalue()


def _taken_apart(tensor: torch.Tensor) -> tuple[Any, ...]:
    return _put_together, (tensor.detach().cpu().numpy(), isinstance(tensor, torch.nn.Parameter))


def _put_together(array: Any, is_weight: bool) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return torch.nn.Parameter(tensor, requires_grad=False) if is_weight else tensor


class Owner:
    """Keeps the networks and predicts, one batch at a time.

    Parameters
    ----------
    address : Address
    tell : callable
        Is told :data:`ANSWERED` after the first batch.
    """

    def __init__(self, address: Address, tell: Callable[[tuple[str, str]], Any]) -> None:
        self._runner, self._notes, self._tell = LocalRunner(torch.device(address.device)), address.notes, tell
        self._networks: dict[str, Any] = {}
        self._turn = threading.Lock()
        self.since: float | None = None  # when the batch that is computed was begun

    def answer(self, asker: int, question: str, *given: Any) -> Any:
        """Return what is sent back to the process that asks."""
        if question == "missing":
            return "missing", [digest for digest in given[0] if digest not in self._networks]
        if question == "networks":
            self._networks |= {digest: pickle.loads(packed).eval() for digest, packed in given[0].items()}
            return ("kept",)
        digests, views, samples = given
        with self._turn:
            self._notes[AT_WORK], self.since = asker, time.monotonic()
            try:
                found = self._runner.run([self._networks[digest] for digest in digests], views, samples)
            except BatchTooLarge:
                return ("too large",)
            except RuntimeError as error:
                if self._runner.device.type != "cpu" and "CUDA" in str(error):
                    os._exit(1)  # the device answers nothing after such an error; another process can begin anew
                raise
            finally:
                self._notes[AT_WORK], self.since = 0, None
        self._tell((ANSWERED, ""))
        self._tell = lambda news: None
        return "predicted", found


def own(address: Address, parent: Connection) -> None:
    """Own the device until the parent is gone: the work of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_end_with, args=(parent, address), daemon=True).start()
    keep_to_threads(1)
    try:
        torch.zeros(1, device=address.device).cpu()
    except (RuntimeError, AssertionError) as error:
        parent.send((UNUSABLE, " ".join(str(error).split())))
        return
    owner = Owner(address, parent.send)
    threading.Thread(target=_end_if_stuck, args=(owner,), daemon=True).start()
    with Listener(address.path, backlog=128, authkey=address.secret) as listener:
        parent.send((READY, ""))
        while True:
            with suppress(OSError, EOFError, multiprocessing.AuthenticationError):
                asker = listener.accept()
                threading.Thread(target=_converse, args=(asker, owner), daemon=True).start()


def _end_with(parent: Connection, address: Address) -> None:
    with suppress(EOFError, OSError):
        parent.recv()
    with suppress(OSError):
        Path(address.path).unlink()
        Path(address.path).parent.rmdir()
    os._exit(0)  # whatever the other threads are at: nobody waits for it


def _end_if_stuck(owner: Owner) -> None:
    while True:
        since = owner.since
        if since is not None and time.monotonic() - since > _STUCK:
            os._exit(1)
        time.sleep(_TICK)


def _converse(asker: Connection, owner: Owner) -> None:
    with asker, suppress(EOFError, OSError):
        number = pickle.loads(asker.recv_bytes())
        while True:
            question = pickle.loads(asker.recv_bytes())
            try:
                reply = owner.answer(number, *question)
            except Exception as error:  # told to who asked, who knows what to make of it
                reply = "failed", f"{type(error).__name__}: {error}"
            asker.send_bytes(pack(reply))


class Asker:
    """Has the owner of a device predict: a runner as :mod:`polyml.models.nn.predict` takes it.

    Parameters
    ----------
    address : Address

    Attributes
    ----------
    waiting : callable
        Called about once a second while it waits.
    """

    def __init__(self, address: Address) -> None:
        self.device = torch.device(address.device)
        self.waiting: Callable[[], Any] = lambda: None
        self._address = address
        self._connection: Connection | None = None
        self._known: set[str] = set()
        self._digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._sizes: WeakKeyDictionary[Any, BatchSize] = WeakKeyDictionary()

    def batch_size(self, networks: Networks) -> BatchSize:
        """Return how much these networks are given at once: the same from run to run, unless memory runs out."""
        return self._sizes.setdefault(networks[0], BatchSize(grows=False))

    def run(self, networks: Networks, views: Sequence[Any], samples: int) -> Predicted:
        """Return what :func:`polyml.models.nn.predict.predict_batch` returns.

        Where the owner dies meanwhile, the next one is asked.

        Raises
        ------
        BatchTooLarge
            The memory of the device does not hold the batch.
        PolymlError
            It failed, or took the owner down again and again.
        """
        strikes = 0
        while True:
            try:
                self._connect()
                return self._predicted(networks, views, samples)
            except (EOFError, OSError):
                self._connection = None
            self._connect()  # once the next one listens, it is known whose batch was computed when the last one died
            strikes += self._address.notes[BLAMED] == os.getpid()
            if strikes == _STRIKES:
                raise PolymlError(f"the process that predicts on {self.device} died of this batch {strikes} times")

    def _predicted(self, networks: Networks, views: Sequence[Any], samples: int) -> Predicted:
        digests = [self._digest(network) for network in networks]
        unknown = [digest for digest in digests if digest not in self._known]
        if unknown:
            missing = self._ask("missing", unknown)[1]
            packed = {d: pack(n) for d, n in zip(digests, networks, strict=True) if d in missing}
            if packed:
                self._ask("networks", packed)
            self._known.update(unknown)
        reply = self._ask("predict", digests, list(views), samples)
        if reply[0] == "too large":
            raise BatchTooLarge
        found: Predicted = reply[1]
        return found

    def _digest(self, network: Any) -> str:
        if network not in self._digests:
            self._digests[network] = hashlib.sha256(pack(network)).hexdigest()
        return self._digests[network]

    def _ask(self, *question: Any) -> Any:
        connection = self._connection
        if connection is None:
            raise EOFError
        connection.send_bytes(pack(question))
        while not connection.poll(_TICK):
            self._wait()
        reply = pickle.loads(connection.recv_bytes())
        if reply[0] == "failed":
            raise PolymlError(reply[1])
        return reply

    def _connect(self) -> None:
        """Find the owner, for as long as it takes: who started it knows when there is none to come."""
        while self._connection is None:
            try:
                connection = Client(self._address.path, authkey=self._address.secret)
                connection.send_bytes(pack(os.getpid()))
                self._connection, self._known = connection, set()
            except (OSError, EOFError, multiprocessing.AuthenticationError):
                self._wait()
                time.sleep(_TICK / 10)

    def _wait(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise SystemExit  # nobody is there to take the predictions
        self.waiting()
