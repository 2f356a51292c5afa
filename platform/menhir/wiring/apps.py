from __future__ import annotations

from django.apps import AppConfig


class WiringConfig(AppConfig):
    name = "menhir.wiring"
    label = "wiring"
