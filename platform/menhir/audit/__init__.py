"""Append-only: who did what to which noun. The database grants no UPDATE and no DELETE on it."""

from menhir.audit.record import record

__all__ = ["record"]
