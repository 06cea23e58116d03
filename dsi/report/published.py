"""Published figures to read a run beside, which were not measured here."""

from pathlib import Path

import yaml

from dsi.report.tables import markdown_table

COLUMNS = ("atomic", "naive", "semantic")


def published(setting: str) -> str:
    """The paper's figures for a setting (see `report.published`) as a Markdown table with its source."""
    figures = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))[setting]
    rows = []
    for name, values in figures["rows"].items():
        cells = ["-" if value is None else f"{value / 100:.3f}" for value in values]
        rows.append([name, *(cells if len(cells) > 1 else cells * len(COLUMNS))])
    return (
        f"{markdown_table(['', *COLUMNS], rows)}\n{figures['measure']} as published by Pradeep et al. 2023 for"
        f" {setting}, not measured here: T5-Base, their synthetic queries, their sample of the corpus. A baseline has"
        " one value."
    )
