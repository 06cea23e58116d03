"""A finished run as the parts of an index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsi.artifacts import check_files, check_path, read_manifest
from dsi.config import CONFIG, SearchConfig, read_part
from dsi.errors import DsiError
from dsi.index.parts import Parts
from dsi.search.text_searcher import IndexFolders

STAGES = ("corpus", "tokenizer", "docids", "model")
"""The stages whose folders an index needs, beside the section `search` of the configuration."""
TERMS = {"bm25": "lexical", "bm25_doc2query": "lexical_doc2query"}
"""The stage whose postings each prior is read from; it and the stage `prior` are needed too."""


def stages(search: SearchConfig) -> list[str]:
    """The stages whose folders an index needs that searches so: the corpus, then those of `IndexFolders`."""
    return [*STAGES, *(["prior", TERMS[search.prior]] if search.prior in TERMS else [])]


def open_run(run_folder: Path, changes: dict[str, Any]) -> Parts:
    """The parts of the index of a run, with these changes to its section `search`.

    Raises:
        DsiError: a stage is not finished, they are not of one run, or there is no such key or value.
    """
    check_path(run_folder)
    if not run_folder.is_dir():
        raise DsiError(f"{run_folder}: there is no such folder; name that of a run, e.g. runs/demo")
    made: dict[str, str] = {}
    _check_stages(run_folder, STAGES, made)  # told before a configuration is looked for where there is no run
    search = read_part(run_folder / CONFIG, "search", SearchConfig, changes)
    needed = stages(search)
    _check_stages(run_folder, needed[len(STAGES) :], made)
    corpus, *others = (run_folder / stage for stage in needed)
    return Parts(run_folder, corpus, IndexFolders(*others), search)


def _check_stages(run_folder: Path, stages: Sequence[str], made: dict[str, str]) -> None:
    """See that these stages are finished and made from those whose fingerprints are in `made`; add theirs.

    Raises:
        DsiError: one is not.
    """
    for stage in stages:
        manifest = read_manifest(run_folder / stage)
        if stage not in STAGES and (manifest is None or not manifest["counts"]):
            raise DsiError(
                f"{run_folder / stage}: the run was made without this prior; search with prior=none, or make the run"
                " with search.prior"
            )
        if manifest is None:
            raise DsiError(
                f"{run_folder / stage}: no finished stage {stage} there; is {run_folder} a run, or a saved index?"
            )
        check_files(run_folder / stage)
        made[stage] = manifest["fingerprint"]
        for upstream in made:
            if manifest["inputs"].get(f"{upstream}/", made[upstream]) != made[upstream]:
                raise DsiError(
                    f"{run_folder}: its {stage} was not made from its {upstream}; copy all stages of one run, or make"
                    " them with `dsi run`"
                )
