"""From the bytes of a file to its text and the spans of its chunks.

Files come from strangers, and the libraries that read them are large: what reads a file runs in a child process of its own, with a cap on
memory, processor and wall time, with none of our secrets in its environment (`caged`). The child (`child`) looks at the bytes to see
what they are (`sniffing`), has one module for each family read them (`pdf`, `office`, `web`, `plain`), tidies what was read (`tidying`) and
cuts it. Text that somebody sends as text and that is short is read in place: there is nothing to guard against.
"""

from __future__ import annotations

from apps.knowledge.extraction.caged import extract
from apps.knowledge.extraction.reading import Extracted, read

__all__ = ["Extracted", "extract", "read"]
