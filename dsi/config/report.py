"""Section `report`."""

from __future__ import annotations

from typing import Literal

from dsi.config.section import Section


class ReportConfig(Section):
    published: Literal["nq-100k", "triviaqa", "msmarco-100k", "msmarco-1m", "msmarco-full"] | None = None
    """Setting of the paper whose published figures the report puts beside the run's, marked as such."""
