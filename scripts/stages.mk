# Written from the table in dsi/pipeline.py by `make stages`; edit that.

STAGES := corpus tokenizer generator doc2query embeddings docids lexical lexical_doc2query teacher model prior search encoder baselines evaluation report
# Those in which all processes of LAUNCH take part.
LAUNCHABLE := generator doc2query embeddings lexical lexical_doc2query teacher model encoder

COMMAND_corpus := ingest
COMMAND_tokenizer := tokenize
COMMAND_generator := finetune
COMMAND_doc2query := expand
COMMAND_embeddings := embed
COMMAND_docids := assign
COMMAND_lexical := index-terms
COMMAND_lexical_doc2query := index-expanded-terms
COMMAND_teacher := teach
COMMAND_model := train
COMMAND_prior := tune-prior
COMMAND_search := search
COMMAND_encoder := train-encoder
COMMAND_baselines := run-baselines
COMMAND_evaluation := evaluate
COMMAND_report := report

# What each stage reads. Order only: the plan says whether the result is out of date.
$(RUN)/tokenizer/manifest.json: | $(RUN)/corpus/manifest.json
$(RUN)/generator/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json
$(RUN)/doc2query/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/generator/manifest.json
$(RUN)/embeddings/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json
$(RUN)/docids/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/embeddings/manifest.json
$(RUN)/lexical/manifest.json: | $(RUN)/corpus/manifest.json
$(RUN)/lexical_doc2query/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/doc2query/manifest.json
$(RUN)/teacher/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/lexical/manifest.json $(RUN)/embeddings/manifest.json
$(RUN)/model/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/docids/manifest.json $(RUN)/teacher/manifest.json
$(RUN)/prior/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/docids/manifest.json $(RUN)/lexical/manifest.json $(RUN)/lexical_doc2query/manifest.json $(RUN)/model/manifest.json
$(RUN)/search/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/docids/manifest.json $(RUN)/model/manifest.json $(RUN)/lexical/manifest.json $(RUN)/lexical_doc2query/manifest.json $(RUN)/prior/manifest.json
$(RUN)/encoder/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/teacher/manifest.json
$(RUN)/baselines/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/embeddings/manifest.json $(RUN)/lexical/manifest.json $(RUN)/teacher/manifest.json $(RUN)/encoder/manifest.json
$(RUN)/evaluation/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/search/manifest.json $(RUN)/baselines/manifest.json
$(RUN)/report/manifest.json: | $(RUN)/corpus/manifest.json $(RUN)/tokenizer/manifest.json $(RUN)/generator/manifest.json $(RUN)/doc2query/manifest.json $(RUN)/embeddings/manifest.json $(RUN)/docids/manifest.json $(RUN)/lexical/manifest.json $(RUN)/lexical_doc2query/manifest.json $(RUN)/teacher/manifest.json $(RUN)/model/manifest.json $(RUN)/prior/manifest.json $(RUN)/search/manifest.json $(RUN)/encoder/manifest.json $(RUN)/baselines/manifest.json $(RUN)/evaluation/manifest.json
