"""What a camera may be called. Light: what travels names cameras, and must not load a config."""

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
