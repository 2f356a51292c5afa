#!/usr/bin/env python
"""Menhir's command line: one path and one setting, nothing else."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Run a management command: `manage.py up`, `manage.py migrate_all`, `manage.py tenant create …`."""
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "menhir.wiring.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as e:
        sys.exit(f"{e}")


if __name__ == "__main__":
    main()
