"""Where no mail is sent, letters are files: with links in them that open accounts, and so for one pair of eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.mail.backends import filebased

OWNER_ALONE = 0o700


class EmailBackend(filebased.EmailBackend):
    """Django's files, in a folder that nobody else on this machine can open."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Path(self.file_path).chmod(OWNER_ALONE)
