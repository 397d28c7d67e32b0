"""Batches made ahead of the network that learns from them: by a thread, or by processes.

Imports nothing heavy by itself: it is what a process that makes batches loads.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2

Batch = TypeVar("Batch")
_BATCHES_AHEAD = 3
_PATIENCE_S = 600


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a training is; the same in every process of the machine.

    earlier_s: trained before this part. start_s: when it began, on time.monotonic. whole_s: wished.
    """

    earlier_s: float
    start_s: float
    whole_s: float

    def elapsed_s(self) -> float:
        """Seconds trained, earlier parts included."""
        return self.earlier_s + time.monotonic() - self.start_s

    def progress(self) -> float:
        """Share of the wished time that has passed, 0..1."""
        return min(1.0, self.elapsed_s() / self.whole_s)


def made_ahead(
    make: Callable[[int], Batch], first_step: int, workers: int = 0
) -> Generator[Batch, None, None]:
    """Give make(first_step), make(first_step + 1)…, made ahead, always in this order.

    workers: 0 makes them in a thread (OpenCV works beside torch), more in so many processes, which
    get a pickled `make` each. An error in `make` is raised here. Close the iterator when done.
    """
    # By more threads OpenCV's last digits are others: both ways must make the same batches.
    cv2.setNumThreads(1)
    return _from_processes(make, first_step, workers) if workers else _from_thread(make, first_step)


def _from_thread(make: Callable[[int], Batch], first_step: int) -> Generator[Batch, None, None]:
    made: queue.Queue[Batch | BaseException] = queue.Queue(_BATCHES_AHEAD)
    stopped = threading.Event()

    def put(item: Batch | BaseException) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def work() -> None:
        step = first_step
        try:
            while not stopped.is_set():
                put(make(step))
                step += 1
        except BaseException as error:  # handed to the training loop, which raises it
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get(timeout=_PATIENCE_S)
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(timeout=60)


class _Steps:
    """What torch's DataLoader asks for batches, by their number."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> Any:
        try:
            return self._make(step)
        except Exception as error:  # raised in the parent, without the worker's traceback in it
            return error


def _as_it_is(item: Any) -> Any:
    return item  # arrays travel through a pipe: /dev/shm is small in many containers


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)  # there are as many processes as cores


def _from_processes(
    make: Callable[[int], Batch], first_step: int, workers: int
) -> Generator[Batch, None, None]:
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        _Steps(make),  # type: ignore[arg-type]
        sampler=itertools.count(first_step),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn",
        timeout=_PATIENCE_S,
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield item
