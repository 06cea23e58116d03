"""Search against two oracles: scoring every docid by teacher forcing, and Hugging Face's own beam search."""

from copy import deepcopy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import random_model, random_queries
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.precision import to_precision
from dsi.search import atomic
from dsi.search.ranking import Ranking
from dsi.search.search_errors import is_certified, search_errors
from dsi.search.searcher import Searcher

END = 0
ROUNDING = 3e-4
"""Of scores of tens in float32, where hypothesis may choose any model (seed 151 differs by 1.3e-4)."""


def write(folder: Path, kind: str, codes: list[list[int]], tokens: int) -> Docids:
    length = max(map(len, codes))
    end = END if kind == "naive" else None
    padded = np.array([[*code, *[-1] * (length - len(code))] for code in codes])
    write_docids(folder, Vocabulary(kind, tokens, length, end), padded)
    return Docids(folder)


def variable_docids(count: int, tokens: int, seed: int) -> list[list[int]]:
    """Distinct docids of one to four tokens and END, some the beginning of others before END."""
    random = np.random.default_rng(seed)
    docids: dict[tuple[int, ...], None] = {}
    while len(docids) < count:
        docids[tuple(random.integers(1, tokens, size=random.integers(1, 5)).tolist())] = None
    return [[*docid, END] for docid in docids]


@torch.inference_mode()
def brute_force(model: DifferentiableSearchIndex, query: list[int], docids: Docids) -> np.ndarray:
    """Log-probability of every document, shape (documents,), by teacher forcing."""
    codes = torch.from_numpy(np.array(docids.codes)).long()
    ids = torch.tensor([query])
    mask = torch.ones_like(ids)
    encoded = model.encode(ids, mask).expand(len(codes), -1, -1)
    states = model.decoder_states(encoded, mask.expand(len(codes), -1), codes)
    scores = (
        functional.linear(states, model.docid_head.weight)
        .log_softmax(-1)
        .gather(2, codes.clamp(min=0).unsqueeze(-1))
        .squeeze(-1)
    )
    return scores.masked_fill(codes < 0, 0).sum(dim=1).numpy()


@pytest.mark.parametrize("ff", ["relu", "gated-gelu"])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), count=st.integers(1, 25))
def test_wide_beam_equals_brute_force(tmp_path_factory, ff: str, seed: int, count: int) -> None:  # type: ignore[no-untyped-def]
    docids = write(tmp_path_factory.mktemp("docids"), "naive", variable_docids(count, 5, seed), 5)
    model = random_model(5, docids.vocabulary.length, seed, feed_forward_proj=ff)
    queries = random_queries(4, seed)
    for query, ranking in zip(queries, Searcher(model, docids).search(queries, 50, batch_size=4), strict=True):
        expected = brute_force(model, query, docids)
        assert sorted(ranking.doc_index) == list(range(count))  # every document once, fewer than beams
        np.testing.assert_allclose(ranking.score, expected[ranking.doc_index], atol=ROUNDING)
        assert (np.diff(ranking.score) <= 0).all()


def best_of(expected: np.ndarray, count: int) -> np.ndarray:
    return np.sort(expected)[::-1][:count]


def check_certified(ranking: Ranking, expected: np.ndarray) -> None:
    """What a ranking calls certified are the best of the scores `expected` of all documents."""
    np.testing.assert_allclose(ranking.score[: ranking.certified], best_of(expected, ranking.certified), atol=ROUNDING)


@pytest.mark.parametrize("ff", ["relu", "gated-gelu"])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), count=st.integers(1, 300), beam=st.integers(1, 40))
@example(seed=9, count=300, beam=40)
@example(seed=151, count=1, beam=1)
def test_exact_search_equals_brute_force(tmp_path_factory, ff: str, seed: int, count: int, beam: int) -> None:  # type: ignore[no-untyped-def]
    docids = write(tmp_path_factory.mktemp("docids"), "naive", variable_docids(count, 7, seed), 7)
    model = random_model(7, docids.vocabulary.length, seed, feed_forward_proj=ff)
    queries = random_queries(4, seed)
    for query, ranking in zip(queries, Searcher(model, docids, max_beam=count).search(queries, beam, 3), strict=True):
        expected = brute_force(model, query, docids)
        wanted = min(count, beam, 10)
        assert is_certified(ranking)
        np.testing.assert_allclose(ranking.score[:wanted], best_of(expected, wanted), atol=ROUNDING)
        check_certified(ranking, expected)  # further results may be, and are not called so if they are not
        np.testing.assert_allclose(ranking.score, expected[ranking.doc_index], atol=ROUNDING)
        assert len(set(ranking.doc_index.tolist())) == len(ranking.doc_index)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), beam=st.integers(1, 40))
def test_what_a_beam_certifies_is_best(tmp_path_factory, seed: int, beam: int) -> None:  # type: ignore[no-untyped-def]
    docids = write(tmp_path_factory.mktemp("docids"), "naive", variable_docids(150, 7, seed), 7)
    model = random_model(7, docids.vocabulary.length, seed)
    queries = random_queries(4, seed)
    for query, ranking in zip(queries, Searcher(model, docids).search(queries, beam, 4), strict=True):
        check_certified(ranking, brute_force(model, query, docids))


def test_exact_search_beyond_its_widest_beam_says_so_and_keeps_what_the_beam_found(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(300, 7, seed=4), 7)
    model = random_model(7, docids.vocabulary.length, seed=4)
    queries = random_queries(12, seed=4)
    beam = Searcher(model, docids).search(queries, 10, 12)
    small = Searcher(model, docids, max_beam=11).search(queries, 10, 12)
    assert not all(is_certified(ranking) for ranking in small)
    for query, narrow, wide in zip(queries, beam, small, strict=True):
        assert (wide.score >= narrow.score - 1e-4).all()
        check_certified(wide, brute_force(model, query, docids))


def test_search_errors_against_brute_force(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(300, 7, seed=5), 7)
    model = random_model(7, docids.vocabulary.length, seed=5)
    queries = random_queries(10, seed=5)
    errors, certified = search_errors(Searcher(model, docids), queries, max_beam=300, batch_size=5)
    assert certified == 1
    best = [np.argsort(-brute_force(model, query, docids)) for query in queries]
    assert [of_beam.beam for of_beam in errors] == [1, 10, 40, 100]
    for of_beam in errors:
        found = [ranking.doc_index for ranking in Searcher(model, docids).search(queries, of_beam.beam, 5)]
        missed = np.mean([top[0] != documents[0] for top, documents in zip(best, found, strict=True)])
        ten = [1 - len({*top[:10]} & {*documents[:10]}) / 10 for top, documents in zip(best, found, strict=True)]
        assert of_beam.missed_first == pytest.approx(missed, abs=1e-4)
        assert of_beam.missed_ten == pytest.approx(np.mean(ten), abs=1e-4)
    assert errors[1].missed_ten > 0
    assert errors[0].missed_ten >= errors[1].missed_ten >= errors[-1].missed_ten


@pytest.mark.parametrize("kind", ["naive", "semantic"])
def test_unconstrained_beam_equals_brute_force_over_all_sequences(tmp_path: Path, kind: str) -> None:
    if kind == "naive":  # sequences end with END, or at the length of the longest docid
        codes = [[1, END], [1, 2, END], [2, END], [2, 2, 1, END]]
        every = [[*backbone, END] for size in range(3) for backbone in product((1, 2), repeat=size)]
        every += [[*backbone, token] for backbone in product((1, 2), repeat=3) for token in (END, 1, 2)]
    else:  # they end as a docid, or at the length of the longest
        codes = [[0, 1], [0, 2, 2], [2, 1, 0]]
        every = [list(backbone) for backbone in product(range(3), repeat=3) if backbone[:2] != (0, 1)] + [[0, 1]]
    docids, model = write(tmp_path, kind, codes, 3), random_model(3, max(map(len, codes)), seed=6)
    (tmp_path / "every").mkdir()
    everything = write(tmp_path / "every", "semantic", every, 3)
    for query, ranking in zip(
        random_queries(3), Searcher(model, docids, constrained=False).search(random_queries(3), 100, 3), strict=True
    ):
        scores = brute_force(model, query, everything)
        by_score = np.argsort(-scores)
        assert ranking.is_docid.tolist() == [every[number] in codes for number in by_score]
        expected = [(codes.index(every[number]), scores[number]) for number in by_score if every[number] in codes]
        assert ranking.doc_index.tolist() == [number for number, _ in expected]
        np.testing.assert_allclose(ranking.score, [score for _, score in expected], atol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["atomic", "naive"])
def test_lower_precision_searches_alike(tmp_path: Path, kind: str, precision: str) -> None:
    codes = [[number] for number in range(60)] if kind == "atomic" else variable_docids(60, 6, seed=2)
    docids = write(tmp_path, kind, codes, 60 if kind == "atomic" else 6)
    model = random_model(docids.vocabulary.tokens, docids.vocabulary.length)
    less_model = to_precision(deepcopy(model), precision, "search.precision")
    full, less = (Searcher(each, docids).search(random_queries(5), 60, 5) for each in (model, less_model))
    for exact, rough in zip(full, less, strict=True):
        assert sorted(exact.doc_index) == sorted(rough.doc_index) == list(range(60))
        scores = [ranking.score[np.argsort(ranking.doc_index)] for ranking in (exact, rough)]
        assert 0.95 < np.asarray(np.corrcoef(np.stack(scores)))[0, 1] < 1


def test_narrow_beam_returns_valid_distinct_documents_in_order(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(200, 8, seed=1), 8)
    model = random_model(8, docids.vocabulary.length)
    for query, ranking in zip(
        random_queries(6), Searcher(model, docids).search(random_queries(6), 10, batch_size=3), strict=True
    ):
        assert len(set(ranking.doc_index.tolist())) == len(ranking.doc_index) == 10
        np.testing.assert_allclose(ranking.score, brute_force(model, query, docids)[ranking.doc_index], atol=1e-4)


def test_documents_that_share_a_docid_are_all_returned(tmp_path: Path) -> None:
    docids = write(tmp_path, "semantic", [[1, 0], [1, 1], [1, 0], [0, 1], [1, 0]], 2)
    [ranking] = Searcher(random_model(2, 2), docids).search(random_queries(1), 10, batch_size=1)
    assert sorted(ranking.doc_index) == [0, 1, 2, 3, 4]
    together = [number for number in ranking.doc_index if number in (0, 2, 4)]
    assert together == [0, 2, 4]
    [first_two] = Searcher(random_model(2, 2), docids).search(random_queries(1), 2, batch_size=1)
    assert first_two.doc_index.tolist() == ranking.doc_index[:2].tolist()


@pytest.mark.parametrize("kind", ["atomic", "naive"])
def test_ranking_does_not_depend_on_the_batch(tmp_path: Path, kind: str) -> None:
    if kind == "atomic":
        docids, model = write(tmp_path, kind, [[number] for number in range(60)], 60), random_model(60, 1)
    else:
        docids = write(tmp_path, kind, variable_docids(60, 6, seed=2), 6)
        model = random_model(6, docids.vocabulary.length)
    queries = random_queries(9)
    searcher = Searcher(model, docids)
    for alone, batched in zip(
        (searcher.search([query], 10, 1)[0] for query in queries), searcher.search(queries, 10, 9), strict=True
    ):
        assert alone.doc_index.tolist() == batched.doc_index.tolist()
        np.testing.assert_allclose(alone.score, batched.score, atol=1e-4)


def test_atomic_search_in_chunks_equals_sorting_all_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "ROWS_PER_CHUNK", 7)
    docids, model = write(tmp_path, "atomic", [[number] for number in range(40)], 40), random_model(40, 1)
    queries = random_queries(5)
    for query, ranking in zip(queries, Searcher(model, docids).search(queries, 100, 5), strict=True):
        expected = brute_force(model, query, docids)
        assert ranking.doc_index.tolist() == np.argsort(-expected).tolist()
        np.testing.assert_allclose(ranking.score, np.sort(expected)[::-1], atol=1e-4)


def test_bfloat16_atomic_search_orders_by_unrounded_logits(tmp_path: Path) -> None:
    model = random_model(4000, 1).to(torch.bfloat16)
    ids = torch.tensor(random_queries(1))
    with torch.inference_mode():
        state = model.first_states(ids, torch.ones_like(ids))
        logits = (state.float() @ model.docid_head.weight.float().T)[0]
        rounded = functional.linear(state, model.docid_head.weight)[0]
        assert len(rounded.topk(200).values.unique()) < 200  # some are level
    documents, _ = atomic.top_documents(model, ids, torch.ones_like(ids), 200)
    assert documents[0].tolist() == logits.argsort(descending=True)[:200].tolist()


def as_hugging_face(model: DifferentiableSearchIndex, tied: bool) -> T5ForConditionalGeneration:
    """The same decoder as a T5 whose whole vocabulary is the docid tokens, started by token END.

    `model` is changed so that this is possible: START reads as END does, and a tied head is the scaled embedding.
    """
    changes = {"vocab_size": model.config.docid_tokens, "decoder_start_token_id": END, "tie_word_embeddings": tied}
    config = {name: value for name, value in model.config.to_dict().items() if name != "scale_decoder_outputs"}
    t5 = T5ForConditionalGeneration(T5Config(**config | changes)).eval()
    with torch.no_grad():
        model.docid_embedding.weight[START] = model.docid_embedding.weight[START + 1 + END]
        t5.decoder.load_state_dict(model.decoder.state_dict() | {"embed_tokens.weight": t5.shared.weight})
        t5.shared.weight.copy_(model.docid_embedding.weight[START + 1 :])
        if tied:
            model.docid_head.weight.copy_(t5.shared.weight * model.config.d_model**-0.5)
        else:
            t5.lm_head.weight = torch.nn.Parameter(model.docid_head.weight.clone())
    return t5


@pytest.mark.parametrize(("ff", "tied"), [("relu", True), ("gated-gelu", False)])
@pytest.mark.parametrize(("lengths", "beam"), [("variable", 50), ("equal", 6)])
def test_parity_with_hugging_face_generate(tmp_path: Path, ff: str, tied: bool, lengths: str, beam: int) -> None:
    codes = variable_docids(40, 6, seed=3)
    if lengths == "equal":  # with narrow beams, only then do both prune at the same moments
        codes = [[first, second, third, END] for first in (1, 3, 4) for second in (1, 2, 5) for third in (2, 3, 4, 5)]
    docids = write(tmp_path, "naive", codes, 6)
    model = random_model(6, docids.vocabulary.length, feed_forward_proj=ff)
    t5 = as_hugging_face(model, tied)
    queries = random_queries(3)
    allowed: dict[tuple[int, ...], set[int]] = {}
    for code in codes:
        for position, token in enumerate(code):
            allowed.setdefault(tuple(code[:position]), set()).add(token)
    for query, ranking in zip(queries, Searcher(model, docids).search(queries, beam, 3), strict=True):
        ids = torch.tensor([query])
        generated = t5.generate(
            encoder_outputs=BaseModelOutput(model.encode(ids, torch.ones_like(ids))),
            attention_mask=torch.ones_like(ids),
            num_beams=beam,
            num_return_sequences=beam,
            max_new_tokens=docids.vocabulary.length,
            prefix_allowed_tokens_fn=lambda _, prefix: sorted(allowed.get(tuple(prefix.tolist()[1:]), {END})),
            length_penalty=0.0,
            eos_token_id=END,
            pad_token_id=END,
            return_dict_in_generate=True,
            output_scores=True,
        )
        theirs: dict[tuple[int, ...], float] = {}
        for row, score in zip(generated.sequences[:, 1:].tolist(), generated.sequences_scores.tolist(), strict=True):
            if score > -1e8:  # below that are phantoms of beams that had nowhere to go
                theirs.setdefault(tuple(row[: row.index(END) + 1]), score)
        ours = {tuple(codes[number]): score for number, score in ranking.hits()}
        assert list(ours) == list(theirs)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=1e-4)
