"""The configuration of an experiment: a module per section, with its keys, types, defaults and meanings.

In: one YAML file, which names only what differs from the defaults, and overrides `section.key=value` (`--set`). Out: a
`Config`, or its text, commented YAML (`dsi config`); unknown keys, wrong types and impossible combinations raise
`DsiError`, which names the file, the key and what is allowed.
"""

from dsi.config.baselines import TEACHERS, BaselinesConfig, Bm25Config, EncoderConfig
from dsi.config.corpus import DEV, TEST, TRAIN, USUAL_SPLITS, CorpusConfig, reported_split
from dsi.config.describe import describe
from dsi.config.doc2query import Doc2QueryConfig, KnownItemConfig, PredictionsConfig, T5GeneratorConfig
from dsi.config.docids import DocidsConfig
from dsi.config.embeddings import EmbeddingsConfig
from dsi.config.evaluation import EvaluationConfig, cutoff_of
from dsi.config.experiment import Config
from dsi.config.generator import GeneratorConfig
from dsi.config.load import CONFIG, Override, load_config, overlaps, read_part, read_section
from dsi.config.model import BackboneConfig, ModelConfig, T5Sizes
from dsi.config.report import ReportConfig
from dsi.config.scalars import FilePath
from dsi.config.schema import json_schema
from dsi.config.search import Ranking, SearchConfig
from dsi.config.section import Rate, Section
from dsi.config.shipped import configuration
from dsi.config.teacher import STATED_OF_TEACHER, TeacherConfig
from dsi.config.tokenizer import TokenizerConfig
from dsi.config.training import DistillationConfig, Labels, TasksConfig, TrainingConfig
