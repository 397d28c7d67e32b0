"""Where events go besides the sockets: each sink a supervised process that follows the journal.

options     what a user can set
journal_tail, outbox, position: what is still to be delivered, and up to where it was
mqtt        a broker: mqtt_topics (names, Home Assistant), mqtt_states (retained topics)
webhook     an HTTP server: signature
"""
