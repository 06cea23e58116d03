"""The campaign of kills of what changes an index: a short one, and that it counts what is lost, mixed or failed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_saved import SMALL

import dsi

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_a_campaign_of_six_kills() -> None:
    command = [sys.executable, str(SCRIPTS / "campaign_grow.py"), "--kills", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.stdout.splitlines()[-1] == "kills=6 lost=0 mixed=0 failed=0", done.stdout + done.stderr
    assert done.returncode == 0


def test_what_is_lost_mixed_or_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import campaign_grow

    def counts(**changes: Any) -> list[int]:
        """Those of lost, mixed and failed after a check of the index with notes that differ so."""
        (tmp_path / "journal").touch()
        notes, tally = campaign_grow.Journal(tmp_path / "journal"), campaign_grow.Tally()
        notes.planned |= {1: ids, 2: ids}
        notes.published = 1
        for name, value in changes.items():
            setattr(notes, name, value)
        campaign_grow.check(tmp_path / "index", notes, "add", tally)
        return [tally.counters[name]["add"] for name in ("lost", "mixed", "failed")]

    documents = [campaign_grow.document(campaign_grow.id_of(number)) for number in range(30)]
    dsi.build(documents, tmp_path / "index", keys=SMALL)
    ids = {document["doc_id"] for document in documents} | {"D000099"}
    dsi.load(tmp_path / "index").add([campaign_grow.document("D000099")])
    assert counts() == counts(published=0) == [0, 0, 0]
    assert counts(published=2) == counts(published=3) == [1, 0, 0]
    assert counts(planned={1: ids - {"D000099"}}) == [0, 3, 0]  # found, there, and their number
    dsi.load(tmp_path / "index").add([("D000098", "other words")])
    assert counts(planned={2: ids | {"D000098"}}) == [0, 1, 0]  # its text
    (tmp_path / "index/generations/current").write_text("{}")
    assert counts() == [0, 0, 1]
