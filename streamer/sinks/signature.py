"""Signs what a webhook gets, as the Standard Webhooks specification 1.0 has it (libraries to check
it are there for most languages):

    webhook-id: <event_id>    webhook-timestamp: <Unix seconds>
    webhook-signature: v1,<base64 of HMAC-SHA256 over "id.timestamp.body">
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from pipeline.errors import ConfigError

_CODED = "whsec_"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for: `whsec_` and base64, or any text as it is.

    Raises ConfigError for what is no base64 behind `whsec_`.
    """
    if not secret.startswith(_CODED):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_CODED), validate=True)
    except binascii.Error:
        rule = f"what follows {_CODED} must be base64"
        raise ConfigError.at("secret of a webhook", rule, remedy="check it") from None


def signed_headers(event_id: str, sent_s: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers that tell which event this is, when it is sent, and, with a key, by whom.

    sent_s: Unix seconds of this try; a receiver refuses what is too old.
    """
    headers = {"webhook-id": event_id, "webhook-timestamp": str(sent_s)}
    if key is not None:
        signed = f"{event_id}.{sent_s}.".encode() + body
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
