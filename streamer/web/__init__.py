"""The HTTP API: a worker that reads the journal and asks the daemon. The room of fastapi.

options.py, key_file.py and arguments.py are light; all else loads the server.
"""
