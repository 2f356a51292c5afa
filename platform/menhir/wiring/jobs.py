"""Procrastinate, wired: jobs are found in each room's `jobs.py` and run by `manage.py worker`."""

from __future__ import annotations

from procrastinate import App


def on_app_ready(app: App) -> None:
    """Called by procrastinate's Django app when every room's jobs are known."""
