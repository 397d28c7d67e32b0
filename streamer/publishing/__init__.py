"""How events leave the daemon, and how they are read; zmq lives here.

events      the wire: one model a kind of event
sink        the matcher's end: hands sightings to the daemon
publisher   the daemon's end: numbers, journals, publishes; answers has the ask socket
subscriber  the reader's end, public: `from streamer.publishing import Subscriber`
"""

from streamer.publishing.subscriber import Subscriber

__all__ = ["Subscriber"]
