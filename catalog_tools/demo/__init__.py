"""`magpie demo`: a made clip, the real daemon, the truth."""
