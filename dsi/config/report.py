"""Section `report`."""

from typing import Literal

from dsi.config.section import Section


class ReportConfig(Section):
    """The tables and the page of results."""

    published: Literal["nq-100k", "triviaqa", "msmarco-100k", "msmarco-1m", "msmarco-full"] | None = None
    """Setting of the paper (nq-100k, triviaqa, msmarco-100k, msmarco-1m or msmarco-full) whose published figures the
    report shows beside the run's, marked as such. Null shows none."""
