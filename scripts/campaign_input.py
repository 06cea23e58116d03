"""Mutates valid inputs of every kind and gives them to the commands that read them, many times.

Every input must be accepted, or refused by messages and exit status 2. It counts

- tracebacks: any other end, e.g. an exception that no message explains, or a signal;
- hangs: inputs that took longer than --seconds, or 1 GiB more memory than the process had before;
- outside: inputs that made, changed or removed a file outside the folder of runs.

python scripts/campaign_input.py --inputs 2000 --seed 0      # or `make campaign-input`

Each input is read by a forked process, which has imported everything already, so that an input takes a fraction of a
second. An input is decided by the seed and its number alone: `--only NUMBER --keep` shows one again.
"""

import argparse
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dsi.cli import main as dsi
from dsi.doc2query.shards import read_shards
from dsi.report.tables import text_table

ELSEWHERE = Path(tempfile.gettempdir(), "dsi-campaign-was-here")
"""A file that inputs try to make by absolute paths and by code."""
MEMORY = 1 << 30
"""The memory that an input may take, in bytes, beyond that of the process before."""
PRELOADED = (
    *("datasets", "ir_measures", "pytrec_eval", "scipy.stats", "sklearn.cluster", "pandas"),
    *("transformers.models.t5.modeling_t5", "transformers.models.auto.tokenization_auto", "transformers.trainer"),
    *("dsi.corpus.ingest", "dsi.corpus.msmarco", "dsi.corpus.beir", "dsi.tokenizer", "dsi.doc2query.expand"),
    *("dsi.docids.assign", "dsi.embeddings.embed", "dsi.training.train", "dsi.search.search", "dsi.index.index"),
    *("dsi.evaluation.evaluate", "dsi.report.report", "dsi.sweep", "dsi.reproduce"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**400, -0.5, 1e308, float("inf"), float("nan"), "", " ", "\n", "\t"),
    *(
        "\0",
        "../..",
        "/",
        "~",
        "é",
        "\u2028",
        "\ud800",
        "a" * 100_000,
        "<script>alert(1)</script>",
        "no",
        "1:30",
        "0100",
    ),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": []}}, ["x"] * 1000),
)
ODD_LINES = (
    *(b"", b" ", b"\t", b"\t\t\t\t", b"\0", b"\xff\xfe", b"query-id\tcorpus-id\tscore", b"docid\ttext", b"null"),
    *(b"{}", b"[]", b'{"_id": 1}', b"1 0 1 1", b"1,0,1,1", b"-1\t-1\t-1\t-1", b"a\tb\tc\td\te\tf", b"\xe2\x80\xa8"),
    *(b"[" * 100_000, b"9" * 5_000, b"x" * 1_000_000, b"1\t0\t7\t1e400", b"1\t0\t7\tnan", b"\r", b"\xef\xbb\xbf"),
)
WORDS = ("heron", "leg", "tide", "lamp", "coil", "moss", "brine", "kiln", "axle", "fern", "slate", "plume", "otter")
SETTINGS = {
    "corpus": {"source": "msmarco", "path": "data"},
    "tokenizer": {"vocabulary": 120},
    "doc2query": {"known_item": {"queries": 3}},
    "embeddings": {"kind": "file", "file": "vectors.npy"},
    "docids": {"kind": "residual", "levels": 2, "codebook": 4},
    "model": {"d_model": 16, "num_heads": 2, "d_kv": 8, "d_ff": 32, "document_length": 16, "query_length": 8},
    "training": {"steps": 4, "batch_size": 8, "eval_steps": 4, "warmup_steps": 1, "dev_queries": 4},
    "search": {"beam": 10, "latency_queries": 1},
    "baselines": {"systems": []},
    "evaluation": {"measures": ["RR@10"]},
}
"""The experiment whose inputs are mutated; small enough to be run as a whole."""

Random = random.Random
Mutation = Callable[[bytes, Random], bytes]


# --- mutations


def mutate_bytes(data: bytes, chance: Random) -> bytes:
    """Flip, cut, repeat, insert or replace bytes anywhere."""
    at, other = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return chance.choice(
        (
            lambda: data[:at] + chance.randbytes(1) + data[at + 1 :],
            lambda: data[:at],
            lambda: data[at:],
            lambda: data[:at] + data[other:],
            lambda: data[:other] + data[at:],
            lambda: data[:at] + chance.randbytes(chance.choice((1, 8, 1000))) + data[at:],
            lambda: data[:at] + b"\0" * chance.choice((1, 8, 4096)) + data[at:],
            lambda: b"",
            lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
            lambda: data[::-1],
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.decode("utf-8", "replace").encode("utf-16"),
        )
    )()


def mutate_lines(data: bytes, chance: Random) -> bytes:
    """Drop, repeat, swap or replace lines, or their ends, separators and fields."""
    lines = data.split(b"\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    fields = lines[at].split(b"\t")
    part = chance.randrange(len(fields))

    def with_line(line: bytes) -> bytes:
        return b"\n".join((*lines[:at], line, *lines[at + 1 :]))

    def with_fields(changed: list[bytes]) -> bytes:
        return with_line(b"\t".join(changed))

    return chance.choice(
        (
            lambda: b"\n".join(lines[:at] + lines[at + 1 :]),
            lambda: b"\n".join((*lines[:at], lines[other], *lines[at:])),
            lambda: with_line(lines[at] * chance.choice((2, 1000))),
            lambda: with_line(chance.choice(ODD_LINES)),
            lambda: b"\n".join((chance.choice(ODD_LINES), *lines)),
            lambda: data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\0", b"\x0b", b"\xc2\x85"))),
            lambda: data.replace(b"\t", chance.choice((b" ", b",", b";", b"\t\t", b"  ", b""))),
            lambda: with_fields(fields[:part] + fields[part + 1 :]),
            lambda: with_fields([*fields, chance.choice(ODD_LINES)]),
            lambda: with_fields([*fields[:part], chance.choice(ODD_LINES), *fields[part + 1 :]]),
            lambda: with_fields(chance.sample(fields, len(fields))),
            lambda: b"\n".join(chance.sample(lines, len(lines))),
        )
    )()


def mutate_value(value: Any, chance: Random) -> Any:
    """Replace, remove, add or rename something somewhere in a value of JSON or YAML."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(ODD_VALUES)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return [*value[:at], *chance.choice(([], [mutate_value(value[at], chance)])), *value[at + 1 :]]
    key = chance.choice(sorted(value, key=str))
    rest = {name: each for name, each in value.items() if name != key}
    deeper = {**value, key: mutate_value(value[key], chance)}
    odd_key = str(chance.choice(ODD_VALUES))[:50]
    return chance.choice((rest, {**rest, odd_key: value[key]}, {**value, odd_key: value[key]}, *[deeper] * 5))


def mutate_json(data: bytes, chance: Random) -> bytes:
    """Change the structure of a JSON text."""
    return json.dumps(mutate_value(json.loads(data), chance)).encode("utf-8", "surrogatepass")


def mutate_json_line(data: bytes, chance: Random) -> bytes:
    """Change the structure of a line of JSON."""
    lines = data.splitlines()
    at = chance.randrange(len(lines))
    return b"\n".join((*lines[:at], mutate_json(lines[at], chance), *lines[at + 1 :]))


def mutate_yaml(data: bytes, chance: Random) -> bytes:
    """Change the structure of a YAML text, or add what YAML has beside mappings and lists."""
    changed = yaml.dump(mutate_value(yaml.safe_load(data), chance), allow_unicode=True)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    odd = (
        "--- 1\n--- 2\n",
        f"!!python/object/apply:os.system ['touch {ELSEWHERE}']\n",
        bomb,
        "[" * 5_000,
        "? [a]\n: b\n",
    )
    return (changed if chance.random() < 0.85 else chance.choice(odd)).encode("utf-8", "surrogatepass")


def mutate_npy(data: bytes, chance: Random) -> bytes:
    """Another shape, type or order, or values that are no numbers."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    rows = chance.randrange(len(array)) if array.ndim and len(array) else 0
    spoilt = array.astype("f4") if array.dtype.kind != "V" else array
    if spoilt.size:
        spoilt.flat[chance.randrange(spoilt.size)] = chance.choice((np.nan, np.inf, -np.inf, 1e38, 7e4, -1, 2**31))
    changed = chance.choice(
        (
            *(array[:rows], array.T, array[..., None], array.ravel(), array[:0], np.asfortranarray(array)),
            *(array.astype("f8"), array.astype(">f4"), array.astype("i8"), array.astype("U"), array.astype(object)),
            *(spoilt, spoilt.astype(array.dtype), array.astype("c8"), np.zeros_like(array), np.zeros(3, "f4,i4")),
        )
    )
    out = io.BytesIO()
    np.save(out, changed, allow_pickle=True)
    return out.getvalue()


def mutate_safetensors(data: bytes, chance: Random) -> bytes:
    """Another header of the tensors."""
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length], chance)
    size = chance.choice((len(header), len(header), len(header), 0, 2**62, length))
    return size.to_bytes(8, "little") + header + data[8 + length :]


def mutate_gzip(data: bytes, chance: Random) -> bytes:
    """Another content, well compressed; sometimes a bomb: one line of 3 GB."""
    if chance.random() < 0.03:
        block = gzip.compress(b"x" * (1 << 24))
        return block * 180
    return gzip.compress(mutate_lines(gzip.decompress(data), chance))


def mutate_archive(data: bytes, chance: Random) -> bytes:
    """An archive with odd members: links, absolute paths, paths that leave it, names twice, devices, cut members."""
    odd = tarfile.TarInfo(chance.choice(("collection.tsv", "../outside.tsv", str(ELSEWHERE), "a/collection.tsv", ".")))
    odd.type = chance.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
    odd.linkname = chance.choice(("/etc/passwd", "../../x", "collection.tsv", ""))
    content = b"" if odd.type != tarfile.REGTYPE else chance.choice((b"D1\tone\n", b"", b"\0" * 600))
    odd.size = len(content)
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as old,
        tarfile.open(fileobj=out, mode="w:gz") as new,
    ):
        members = old.getmembers()
        chance.shuffle(members)
        if chance.random() < 0.5:
            new.addfile(odd, io.BytesIO(content))
        for member in members:
            member.name = chance.choice(
                (member.name,) * 5 + (f"../{member.name}", f"/{member.name}", f"x/{member.name}")
            )
            if chance.random() < 0.9:
                new.addfile(member, old.extractfile(member))
        if chance.random() < 0.5:
            new.addfile(odd, io.BytesIO(content))
    return out.getvalue()


STRUCTURE: dict[str, Mutation] = {
    ".tsv": mutate_lines,
    ".txt": mutate_lines,
    ".run": mutate_lines,
    ".jsonl": mutate_json_line,
    ".json": mutate_json,
    ".yaml": mutate_yaml,
    ".npy": mutate_npy,
    ".safetensors": mutate_safetensors,
    ".tar.gz": mutate_archive,
    ".gz": mutate_gzip,
}
"""The mutation of the structure of a file, by the ending of its name."""


def mutate(path: Path, chance: Random) -> str:
    """Mutate a file in one way; returns its name and the way."""
    ending = next((ending for ending in STRUCTURE if path.name.endswith(ending)), None)
    ways: list[Mutation] = [mutate_bytes, mutate_lines]
    if ending is not None:
        ways += [STRUCTURE[ending]] * 3
    way, data = chance.choice(ways), path.read_bytes()
    try:
        data = way(data, chance)
    except (ValueError, TypeError, OverflowError):  # it has no such structure, e.g. numbers that this type cannot hold
        way, data = mutate_bytes, mutate_bytes(data, chance)
    path.unlink()  # its content may be shared by other inputs
    shape = chance.random()
    if shape < 0.02:
        path.mkdir()
    elif shape < 0.03:
        path.symlink_to(path.name)
    elif shape > 0.02:
        path.write_bytes(data)
    return f"{path.name}, {way.__name__}"


# --- what reads them


@dataclass(frozen=True)
class Kind:
    """A kind of input."""

    commands: Sequence[Sequence[str]]
    """What reads it, one after the other as long as each ends with status 0."""
    files: Sequence[str]
    """Patterns of the files of which one is mutated."""
    sets: Sequence[str] = ()
    """Keys of the experiment that make it read these files."""
    has_runs: bool = False
    """Whether the finished run of the experiment is there."""
    stdin: str = os.devnull
    """The file that the commands get as standard input."""


INGEST = ("ingest", "config.yaml")
READERS = (("query", "runs/config", "heron leg"), ("evaluate", "config.yaml"), ("report", "config.yaml"))
KINDS = {
    "tsv": Kind([INGEST], ["data/collection.tsv", "data/queries.*.tsv"]),
    "qrels": Kind([INGEST], ["data/qrels.*.tsv", "beir/qrels/*.tsv"]),
    "json lines": Kind([INGEST], ["beir/*.jsonl"], ["corpus.source=beir", "corpus.path=beir"]),
    "archive": Kind([INGEST], ["packed/*.tar.gz"], ["corpus.path=packed"]),
    "gzip": Kind([INGEST], ["packed/*.tsv.gz"], ["corpus.path=packed"]),
    "yaml": Kind([("check", "config.yaml")], ["config.yaml"], has_runs=True),
    "sweep": Kind([("sweep", "sweep.yaml")], ["sweep.yaml"], has_runs=True),
    "scores": Kind([("reproduce", "scores.yaml")], ["scores.yaml", "scores.json"], has_runs=True),
    "predictions": Kind(
        [("expand", "config.yaml")], ["released/*"], ["doc2query.predictions.path=released"], has_runs=True
    ),
    "predictions, texts": Kind(
        [("expand", "config.yaml")], ["sampled/*"], ["doc2query.predictions.path=sampled"], has_runs=True
    ),
    "teacher": Kind(
        [("teach", "config.yaml")],
        ["taught/*"],
        ["training.labels=teacher", "teacher.kind=run", "teacher.path=taught/scores.jsonl"],
        has_runs=True,
    ),
    "npy": Kind([("embed", "config.yaml"), ("assign", "config.yaml")], ["vectors.npy"], has_runs=True),
    "checkpoint": Kind(
        [("tokenize", "config.yaml"), ("embed", "config.yaml")],
        ["checkpoint/*"],
        ["model.checkpoint=./checkpoint", "embeddings.kind=document_states"],
        has_runs=True,
    ),
    "queries": Kind([("query", "runs/config")], ["asked.txt"], has_runs=True, stdin="asked.txt"),
    "manifest": Kind(READERS, ["runs/.store/*/manifest.json"], ["evaluation.measures=[RR@10,R@10]"], has_runs=True),
    "run folder": Kind(READERS, ["runs/.store/*/*"], ["evaluation.measures=[RR@10,R@10]"], has_runs=True),
}


def write_inputs(folder: Path) -> None:
    """Write a valid input of every kind, and run the experiment."""
    chance = Random(0)
    data, beir, packed = folder / "data", folder / "beir", folder / "packed"
    for path in (data, beir / "qrels", packed, folder / "released", folder / "sampled", folder / "taught"):
        path.mkdir(parents=True)
    texts = {str(n): " ".join(chance.sample(WORDS, 6)) for n in range(24)}
    (data / "collection.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()), encoding="utf-8")
    lines = (json.dumps({"_id": name, "title": "", "text": text}) + "\n" for name, text in texts.items())
    (beir / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    queries = []
    for split, first in (("dev", 0), ("test", 3)):
        chosen = {f"{split}{n}": list(texts)[n] for n in range(first, 24, 6)}
        asked = {name: " ".join(texts[document].split()[1:3]) for name, document in chosen.items()}
        queries += [json.dumps({"_id": name, "text": text}) + "\n" for name, text in asked.items()]
        (data / f"queries.{split}.tsv").write_text(
            "".join(f"{name}\t{text}\n" for name, text in asked.items()), encoding="utf-8"
        )
        (data / f"qrels.{split}.tsv").write_text(
            "".join(f"{name}\t0\t{each}\t1\n" for name, each in chosen.items()), encoding="utf-8"
        )
        judged = "".join(f"{name}\t{each}\t1\n" for name, each in chosen.items())
        (beir / f"qrels/{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    (beir / "queries.jsonl").write_text("".join(queries), encoding="utf-8")
    with tarfile.open(packed / "collectionandqueries.tar.gz", "w:gz") as archive:
        for path in sorted(data.iterdir()):
            if "test" not in path.name:
                archive.add(path, path.name)
    for path in sorted(data.glob("*test*")):
        (packed / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    released = ({"id": name, "predicted_queries": [text[:9], text[9:]]} for name, text in texts.items())
    (folder / "released/queries.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in released), encoding="utf-8"
    )
    for sample in range(2):
        (folder / f"sampled/predicted_queries_topk_sample0{sample}.txt000").write_text(
            "two words\n" * 24, encoding="utf-8"
        )
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(24, 6)).astype("f4"))
    (folder / "asked.txt").write_text("heron leg\nbrine kiln\n", encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.dump(SETTINGS), encoding="utf-8")
    sweep = {"config": "config.yaml", "grid": {"training.seed": [0]}, "x": "training.seed"}
    (folder / "sweep.yaml").write_text(yaml.dump(sweep), encoding="utf-8")
    scores = {"same": 1, "close": 1, "runs": {"config": {"config": "config.yaml"}}}
    (folder / "scores.yaml").write_text(yaml.dump(scores), encoding="utf-8")
    os.chdir(folder)
    for command in (["run", "config.yaml"], ["sweep", "sweep.yaml"], ["reproduce", "scores.yaml", "--record"]):
        if dsi(command) != 0:
            sys.exit(1)
    shards = read_shards(Path("runs/config/doc2query"))
    own = {text: document for shard in shards for document, text in zip(shard[0].tolist(), shard[1], strict=True)}
    taught = ({"query": text, "scores": {str(n): 2.5, str((n + 1) % 24): 1}} for text, n in own.items())
    Path("taught/scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in taught), encoding="utf-8")
    shutil.copytree("runs/config/model", "checkpoint", ignore=shutil.ignore_patterns("manifest.json", "*.tsv"))


# --- the campaign


@dataclass
class Case:
    """One input."""

    number: int
    kind: str
    mutation: str
    folder: Path
    before: dict[str, Any] = field(default_factory=dict)
    """What was in its folder, but for runs, before the commands."""
    start: float = 0.0


def make_case(number: int, kinds: Sequence[str], seed: int, valid: Path, root: Path) -> Case:
    """Copy the valid inputs, mutate one; files are shared until they are changed. Numbers below 0 mutate nothing."""
    chance = Random(f"{seed} {number}")
    name = kinds[number % len(kinds)]
    kind, folder = KINDS[name], root / f"{number:05d}" / "work"
    ignore = None if kind.has_runs else shutil.ignore_patterns("runs")
    shutil.copytree(valid, folder, symlinks=True, ignore=ignore, copy_function=os.link)
    paths = [path for pattern in kind.files for path in sorted(folder.glob(pattern)) if path.is_file()]
    mutation = mutate(chance.choice(paths), chance) if number >= 0 else "as it is"
    case = Case(number, name, mutation, folder)
    case.before = state(folder)
    return case


def state(folder: Path) -> dict[str, Any]:
    """The size and the time of every file at and beside the folder of a case, but for runs."""
    found = {}
    for path in folder.parent.rglob("*"):
        name = path.relative_to(folder.parent)
        if name.parts[:2] != ("work", "runs") and name.parts[0] != "log":
            status = path.lstat()
            found[str(name)] = (status.st_mode, status.st_size, status.st_mtime_ns if path.is_file() else 0)
    return found


def read_case(case: Case, seconds: int) -> None:
    """In a process of its own: let the commands read the input, and end with their status."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    os.setsid()  # so that processes it starts can be found
    log = os.open(case.folder.parent / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(case.folder)
    kind, status = KINDS[case.kind], 0
    stdin = kind.stdin if Path(kind.stdin).is_file() else os.devnull
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    try:
        for command in kind.commands:
            sets = ["--set", *kind.sets] if kind.sets and command[0] != "query" else []
            status = dsi([*command, *sets])
            if status:
                break
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def verdict(case: Case, status: int, memory: int, before: int) -> str:
    """What became of an input: accepted, refused, or one of the three faults."""
    log = (case.folder.parent / "log").read_text(encoding="utf-8", errors="replace")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return "hangs"
    if memory - before > MEMORY:
        return "hangs"
    if state(case.folder) != case.before or ELSEWHERE.exists():
        return "outside"
    code = os.waitstatus_to_exitcode(status)
    if code == 0 and "Traceback (most recent call last)" not in log:
        return "accepted"
    if code == 2 and "dsi: error: " in log and "Traceback (most recent call last)" not in log:
        return "refused"
    return "tracebacks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2_000, help="number of inputs (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations (default: 0)")
    parser.add_argument("--seconds", type=int, default=60, help="longest time for an input (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="inputs at a time (default: all cores)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only inputs of this kind; may be repeated")
    parser.add_argument("--only", type=int, help="only the input with this number")
    parser.add_argument("--keep", action="store_true", help="keep the folders of faults")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    root = Path(tempfile.mkdtemp(prefix="dsi-campaign-"))
    valid = root / "valid"
    child = os.fork()  # what it computes must not leave threads in the process that is forked for the inputs
    if child == 0:
        write_inputs(valid)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("the valid inputs are not accepted")
    for module in PRELOADED:
        __import__(module)
    kinds = options.kind or list(KINDS)
    numbers = iter([options.only] if options.only is not None else range(-len(kinds), options.inputs))
    running: dict[int, Case] = {}
    table: dict[str, Counter[str]] = defaultdict(Counter)
    last, done, before = time.monotonic(), 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    while True:
        while len(running) < options.jobs and (number := next(numbers, None)) is not None:
            case = make_case(number, kinds, options.seed, valid, root)
            child = os.fork()
            if child == 0:
                read_case(case, options.seconds)
            running[child] = case
        if not running:
            break
        child, status, usage = os.wait3(0)
        case = running.pop(child)
        found = verdict(case, status, usage.ru_maxrss * 1024, before)
        if case.number >= 0:
            table[case.kind][found] += 1
            done += 1
        is_fault = found not in (("accepted", "refused") if case.number >= 0 else ("accepted",))
        if is_fault:
            lines = (case.folder.parent / "log").read_text(encoding="utf-8", errors="replace").splitlines()
            print(
                f"{found}: input {case.number} ({case.kind}: {case.mutation}): {lines[-1] if lines else ''}", flush=True
            )
        if not (is_fault and options.keep):
            shutil.rmtree(case.folder.parent)
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"{done:,} of {options.inputs:,} inputs", file=sys.stderr, flush=True)
    columns = ("accepted", "refused", "tracebacks", "hangs", "outside")
    print(text_table(["kind", *columns], [[kind, *(str(table[kind][each]) for each in columns)] for kind in kinds]))
    faults = {fault: sum(counts[fault] for counts in table.values()) for fault in columns[2:]}
    if not options.keep:
        shutil.rmtree(root)
    else:
        print(f"faults are in {root}")
    print(f"inputs={done} " + " ".join(f"{fault}={number}" for fault, number in faults.items()))
    sys.exit(any(faults.values()))


if __name__ == "__main__":
    main()
