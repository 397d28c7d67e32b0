"""A worker that is started when somebody asks for it, and goes by itself when nobody does."""

from streamer.child import Ready
from streamer.control.answering import Answering, Asked
from streamer.control.requests import QueryPlace, refused
from streamer.supervisor import Supervisor, WorkerEvent
from streamer.worker import Exit, WorkerSpec


class OnDemand:
    """Answers those who asked for the worker when it is ready. spec: None: there is no such one."""

    def __init__(
        self,
        spec: WorkerSpec | None,
        endpoint: str,
        supervisor: Supervisor,
        answering: Answering,
    ) -> None:
        """endpoint: where the worker listens."""
        self._spec, self._place = spec, QueryPlace(endpoint=endpoint)
        self._supervisor, self._answering = supervisor, answering
        self._is_ready = False
        self._waiting: list[Asked] = []

    def ask(self, asked: Asked) -> None:
        """Answer now, or when the worker is ready; it is started if it does not run."""
        if self._spec is None:
            gone = refused("missing", "query", "this run has no worker for searches")
            self._answering.refuse(asked, gone.refusal)
            return
        if self._is_ready:
            self._answering.answer(asked, self._place)
            return
        self._waiting.append(asked)
        name = self._spec.name
        if self._supervisor.has(name) and self._supervisor.is_done(name):
            self._supervisor.remove(name)
        if not self._supervisor.has(name):
            self._supervisor.add(self._spec)

    def hear(self, event: WorkerEvent) -> None:
        """The worker is ready, or its process is gone."""
        if self._spec is None or event.worker.name != self._spec.name:
            return
        if isinstance(event.what, Ready):
            self._is_ready = True
            for asked in self._waiting:
                self._answering.answer(asked, self._place)
            self._waiting.clear()
        elif isinstance(event.what, Exit):
            self._is_ready = False
            if event.what.was_ready:
                return  # who asked meanwhile has another one started
            rule = f"its worker could not be started: {event.what.reason}"
            why = refused("busy", "query", rule, None, "ask again; the daemon's log says more")
            for asked in self._waiting:
                self._answering.refuse(asked, why.refusal)
            self._waiting.clear()
