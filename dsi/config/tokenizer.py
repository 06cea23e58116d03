"""Section `tokenizer`: the vocabulary of texts."""

from __future__ import annotations

from dsi.config.section import Count, Section


class TokenizerConfig(Section):
    vocabulary: Count = 16_000
    """Size of the SentencePiece vocabulary trained on the corpus. A model.checkpoint brings its own."""
    lowercase: bool = True
    """Fold case before training the vocabulary (queries rarely keep it)."""
    punctuation: bool = False
    """Whether a vocabulary trained here has tokens for it. Without, `(status,` and `status` are the same token."""
