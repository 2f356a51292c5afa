"""nginx as a reverse proxy with kept connections and no buffering: what a relay costs in C, with nothing else done."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from machine import free_port, pinned

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream models {{ server {upstream}; keepalive 1024; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    keepalive_requests 10000000;
    location / {{
      proxy_pass http://models;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def found() -> str | None:
    """The nginx command, where there is one."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def running(command: str, folder: Path, *, upstream: str, core: int) -> Iterator[tuple[str, int]]:
    """Serve; gives the base URL and the process id."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, upstream=urlsplit(upstream).netloc))
    url = f"http://127.0.0.1:{port}"
    serve = [command, "-c", str(config), "-p", str(folder)]
    with pinned(serve, core=core, environment=dict(os.environ), ready_url=f"{url}/count", log=folder / "nginx.log") as process:
        yield url, process.pid
