"""One MQTT broker: publishes each event and keeps the retained topics true.

An event counts as delivered when the broker has acknowledged it (qos 1 and 2). When the connection
breaks, all that was not is published again over the next one, in order.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections import OrderedDict

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from pipeline.errors import MagpieError
from streamer.child import ChildContext, WorkerState
from streamer.secret_text import read_named, read_secret
from streamer.sinks.backoff import Backoff
from streamer.sinks.journal_tail import Letter
from streamer.sinks.mqtt_states import MqttStates
from streamer.sinks.mqtt_topics import Topics
from streamer.sinks.options import MqttOptions, SinkArgs
from streamer.sinks.outbox import Outbox, open_outbox

TURN_S = 0.1
DRAIN_S = 0.6  # at the end, of the supervisor's stop_grace_s
GOODBYE_S = 0.2
_KEEPALIVE_S = 20
_CONNECT_S = 4.0
_ANSWER_S = 10.0  # of the broker: to a connection, to an event
_MOST_RETRY_S = 30.0
_WINDOW = 20  # events under way


class _Connection:
    """One connection to the broker, from its making to its end; never reconnected."""

    def __init__(self, options: MqttOptions, client_id: str, topics: Topics) -> None:
        """Connect; raises OSError (not reachable, TLS refused) or ConfigError (secrets, files)."""
        self.is_up = False
        self.end: str | None = None  # why it is over
        self.acknowledged: set[int] = set()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id, reconnect_on_failure=False)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_timeout = _CONNECT_S
        client.max_inflight_messages_set(4 * _WINDOW)
        client.will_set(topics.available, "offline", qos=options.qos, retain=True)
        if options.user is not None:
            password = None if options.password is None else read_secret(options.password)
            client.username_pw_set(read_named(options.user), password)
        if options.tls:
            ca, cert, key = (
                None if path is None else str(path)
                for path in (options.ca, options.client_cert, options.client_key)
            )
            client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
        self._client = client
        self._qos = options.qos
        self._made_s = time.monotonic()
        client.connect(options.host, options.port_in_use, keepalive=_KEEPALIVE_S)

    def turn(self, wait_s: float) -> None:
        """Receive and send what is due."""
        result = self._client.loop(wait_s)
        if result != paho.MQTT_ERR_SUCCESS and self.end is None:
            self.end = paho.error_string(result)
        if not self.is_up and self.end is None and time.monotonic() - self._made_s > _ANSWER_S:
            self.end = "the broker does not answer"

    def publish(self, topic: str, text: str, is_retained: bool) -> int:
        """Hand a message over; returns by which number it will be acknowledged."""
        return self._client.publish(topic, text.encode(), self._qos, is_retained).mid

    def wants_write(self) -> bool:
        return self._client.want_write()

    def close(self) -> None:
        """Say goodbye as far as that goes at once; no last will follows it."""
        self._client.on_disconnect = None
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
            self._client.loop(0.0)
        self.drop()

    def drop(self) -> None:
        """Close the socket without a word."""
        self._client.on_disconnect = None
        socket = self._client.socket()
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.close()

    def _on_connect(
        self, _: object, __: object, ___: object, code: ReasonCode, ____: Properties | None
    ) -> None:
        if code.is_failure:
            self.end = f"the broker refuses: {str(code).lower()}"
        else:
            self.is_up = True

    def _on_disconnect(
        self, _: object, __: object, ___: object, code: ReasonCode, ____: Properties | None
    ) -> None:
        self.end = self.end or f"the connection ended: {str(code).lower()}"

    def _on_publish(
        self, _: object, __: object, mid: int, ___: ReasonCode, ____: Properties
    ) -> None:
        self.acknowledged.add(mid)


class MqttSink:
    """Events and states to one broker, over as many connections as it takes."""

    def __init__(self, context: ChildContext, args: SinkArgs, outbox: Outbox) -> None:
        assert isinstance(args.options, MqttOptions)
        options = args.options
        self._context = context
        self._options = options
        self._outbox = outbox
        self._topics = Topics(options.topic_prefix)
        self._client_id = options.client_id or f"magpie-{args.name}-{outbox.tail.journal_id}"
        items = outbox.journal.with_name(f"{outbox.journal.name}.sink-mqtt-{args.name}.items.json")
        self._states = MqttStates(options, outbox.tail, items)
        self._backoff = Backoff(_MOST_RETRY_S)
        self._connection: _Connection | None = None
        self._under_way: OrderedDict[int, tuple[Letter, float]] = OrderedDict()
        self._greeting: int | None = None
        self._is_proved = False  # the broker has acknowledged the greeting

    def run(self) -> None:
        """Return when asked to stop, and what could be delivered by then has been."""
        while not self._context.is_stopping():
            self._context.beat()
            try:
                self._turn()
            except (OSError, MagpieError) as error:
                self._fail(_cause(error))
        self._drain()

    def _turn(self) -> None:
        if self._connection is None:
            self._connection = _Connection(self._options, self._client_id, self._topics)
        connection = self._connection
        connection.turn(0.0 if self._send(connection) else TURN_S)
        self._settle(connection)
        if connection.end is not None:
            self._fail(connection.end)

    def _send(self, connection: _Connection) -> bool:
        """Hand over what there is room for; returns whether there was something."""
        if not connection.is_up:
            return False
        if self._greeting is None:
            self._states.forget_published()
            self._greeting = connection.publish(self._topics.available, "online", True)
        changes = self._states.changes()
        for topic, text in changes:
            connection.publish(topic, text, True)
        letters = self._outbox.take(_WINDOW - len(self._under_way))
        for letter in letters:
            number = connection.publish(self._topics.events, letter.text, False)
            self._under_way[number] = (letter, time.monotonic())
        return bool(changes or letters) or connection.wants_write()

    def _settle(self, connection: _Connection) -> None:
        """Take note of what the broker has acknowledged."""
        if self._greeting in connection.acknowledged:
            self._is_proved = True
            self._backoff.reset()
        if self._is_proved:
            self._context.report(WorkerState.RUNNING, None, **self._outbox.counters())
        for number in [each for each in self._under_way if each in connection.acknowledged]:
            letter, _ = self._under_way.pop(number)
            self._outbox.has_arrived(letter)
        connection.acknowledged.clear()
        oldest_s = next((sent_s for _, sent_s in self._under_way.values()), float("inf"))
        if time.monotonic() - oldest_s > _ANSWER_S and connection.end is None:
            connection.end = "the broker acknowledges nothing"

    def _fail(self, why: str) -> None:
        """Let the connection go, say why, wait."""
        place = f"mqtt://{self._options.host}:{self._options.port_in_use}"
        self._context.report(
            WorkerState.RECONNECTING, f"{why} ({place})", **self._outbox.counters()
        )
        self._let_go()
        until_s = time.monotonic() + self._backoff.next_s()
        while (left_s := until_s - time.monotonic()) > 0 and not self._context.is_stopping():
            self._context.beat()
            self._context.wait(min(left_s, 0.5))

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.drop()
        self._connection, self._greeting, self._is_proved = None, None, False
        self._under_way.clear()
        self._outbox.take_back()

    def _drain(self) -> None:
        """Deliver what waits, for a moment; then say that nobody is here any more."""
        connection = self._connection
        if connection is None or not connection.is_up:
            self._let_go()
            return
        stop_by_s = time.monotonic() + DRAIN_S
        with contextlib.suppress(OSError):
            while time.monotonic() < stop_by_s and connection.end is None:
                is_more = self._send(connection)
                connection.turn(0.0 if is_more else 0.02)
                self._settle(connection)
                if not is_more and not self._under_way:
                    break
            goodbye = connection.publish(self._topics.available, "offline", True)
            stop_by_s = time.monotonic() + GOODBYE_S
            while time.monotonic() < stop_by_s and connection.end is None:
                connection.turn(0.02)
                if goodbye in connection.acknowledged:
                    break
        connection.close()
        self._outbox.take_back()


def run_mqtt(context: ChildContext, args: SinkArgs) -> None:
    """Deliver until asked to stop. Raises WorkerError for a journal that cannot be read."""
    outbox = open_outbox(args, context.run_dir)
    try:
        context.ready()
        context.report(WorkerState.STARTING, None)
        MqttSink(context, args, outbox).run()
    finally:
        outbox.close()


def _cause(error: OSError | MagpieError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it cannot be reached in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
