"""Postgres as the whole of our infrastructure: roles, pools, the listener, statements in files, the embedded server.

Always true: running processes log in as roles that own nothing (`roles.py`); a statement that matters is a file whose header a
test checks against the server (`sql.py`); a process listens on one connection (`listener.py`).
"""
