"""Compilers of the postgresql backend, without the UNNEST form of bulk inserts.

`INSERT … SELECT` under row-level security is refused by Citus unless it has ON CONFLICT; VALUES is not.
"""

from __future__ import annotations

from django.db.backends.postgresql.compiler import SQLAggregateCompiler, SQLCompiler, SQLDeleteCompiler, SQLUpdateCompiler
from django.db.models.sql.compiler import SQLInsertCompiler

__all__ = ["SQLAggregateCompiler", "SQLCompiler", "SQLDeleteCompiler", "SQLInsertCompiler", "SQLUpdateCompiler"]
