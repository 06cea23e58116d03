"""Section `tokenizer`: the vocabulary of texts."""

from dsi.config.section import Count, Section


class TokenizerConfig(Section):
    """The vocabulary of texts: SentencePiece trained on the corpus. A model.checkpoint brings its own instead."""

    vocabulary: Count = 16_000
    """Size of the vocabulary; a small corpus gives fewer tokens."""
    sample: Count = 50_000_000
    """The number of characters of text from which it is trained, those of documents at even distances; 12 bytes of
    memory each. All that a smaller corpus has."""
    lowercase: bool = True
    """Whether texts are lowercased: queries rarely keep the case."""
    punctuation: bool = False
    """Whether punctuation has tokens. If not, `(status,` and `status` are the same token."""
