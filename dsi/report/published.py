"""Published figures to read a run beside, which were not measured here."""

from pathlib import Path

import yaml

from dsi.report.blocks import Block
from dsi.report.quantities import decimal
from dsi.report.tables import Table

COLUMNS = ("atomic", "naive", "semantic")


def published(setting: str) -> list[Block]:
    """The paper's figures for a setting (see `report.published`) as a table and its source."""
    figures = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))[setting]
    rows = []
    for name, values in figures["rows"].items():
        cells = [decimal(None if value is None else value / 100) for value in values]
        rows.append([name, *(cells if len(cells) > 1 else cells * len(COLUMNS))])
    measure = figures["measure"]
    return [
        Table("published", f"{measure} as published for {setting}, not measured here.", ["system", *COLUMNS], rows),
        f"{measure} as published by Pradeep et al. 2023 for"
        f" {setting}, not measured here: T5-Base, their synthetic queries, their sample of the corpus. A baseline has"
        " one value.",
    ]
