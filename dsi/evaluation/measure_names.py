"""Names of measures as ir-measures spells them, e.g. `SDCG(max_rel=3)@10`, and what is wrong with one."""

from typing import Any

import ir_measures

from dsi.errors import DsiError, first_line

EXAMPLES = {"cutoff": 10, "recall": 0.1, "rel": 1, "max_rel": 3}
"""Values for parameters that have no default."""
TYPES = {int: "a whole number", float: "a number with a point, such as 0.5", bool: "True or False", str: "a text"}
LARGEST_GAIN = 1_000_000
"""The largest grade for nDCG: trec_eval's time and memory grow with it."""
KEY = "evaluation.measures"


def parse(name: str) -> Any:
    """The measure of ir-measures with this name.

    Raises:
        DsiError: there is none, a parameter is missing or wrong, or no installed package computes it.
    """
    try:
        measure = ir_measures.parse_measure(name)
    except (ValueError, NameError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        why = f"{first_line(error):.200}; examples: RR@10, R@100, nDCG@10, AP(rel=2)"
        raise DsiError(f"{KEY}: {name!r:.80}: {why}") from None
    if any(sign in name for sign in "\t\r\n#"):  # which would end a column, or begin what Python ignores
        raise DsiError(f"{KEY}: {name!r}: write it without tabs, line ends and #")
    _check_parameters(name, measure)
    if not ir_measures.DefaultPipeline.supports(measure):
        raise DsiError(f"{KEY}: {name!r}: {_why_unsupported(measure)}")
    return measure


def _check_parameters(name: str, measure: Any) -> None:
    """Raise DsiError unless every parameter exists, has a value if it must, and one that the programs behind
    ir-measures can take: some end the process, or return 0, for others."""
    known, given = measure.SUPPORTED_PARAMS, measure.params
    for parameter, value in given.items():
        if parameter not in known:
            has = f"its parameters are: {', '.join(known)}" if known else "it has no parameters"
            raise DsiError(f"{KEY}: {name!r} has no parameter {parameter}; {has}")
        info = known[parameter]
        if not info.validate(value) or (isinstance(value, bool) and info.dtype is not bool):
            wanted = " or ".join(map(repr, info.choices)) if isinstance(info.choices, list) else TYPES.get(info.dtype)
            raise DsiError(f"{KEY}: {name!r}: {parameter} is {wanted or 'a mapping, e.g. {1: 3}'}, found {value!r}")
    missing = [parameter for parameter, info in known.items() if info.required and parameter not in given]
    if missing:
        raise DsiError(
            f"{KEY}: {name!r} needs {' and '.join(f'{each} ({known[each].desc})' for each in missing)}; write e.g."
            f" {_written(measure)}"
        )
    for parameter in ("cutoff", "rel"):
        if parameter in given and given[parameter] < 1:
            raise DsiError(f"{KEY}: {name!r}: {parameter} must be a number of at least 1, found {given[parameter]}")
    if "max_rel" in given and given["max_rel"] <= measure["min_rel"]:
        raise DsiError(f"{KEY}: {name!r}: max_rel must be above min_rel, which is {measure['min_rel']}")
    if "recall" in given and not (0 <= given["recall"] <= 1 and round(given["recall"], 2) == given["recall"]):
        raise DsiError(f"{KEY}: {name!r}: a recall is from 0 to 1, with two digits after the point at most")
    gains = given.get("gains", {})
    if not all(type(number) is int and 0 <= number <= LARGEST_GAIN for pair in gains.items() for number in pair):
        raise DsiError(f"{KEY}: {name!r}: gains are whole numbers from 0 to {LARGEST_GAIN:,}, e.g. gains={{1: 3}}")


def _written(measure: Any) -> str:
    """The name of a measure with an example for every parameter that it lacks."""
    required = [parameter for parameter, info in measure.SUPPORTED_PARAMS.items() if info.required]
    return str(measure(**{**{parameter: EXAMPLES[parameter] for parameter in required}, **measure.params}))


def _why_unsupported(measure: Any) -> str:
    """Why no installed package computes a measure whose parameters are right, and what to do."""
    pipeline = ir_measures.DefaultPipeline
    completed = [
        measure(**{name: EXAMPLES[name]})
        for name in EXAMPLES
        if name in measure.SUPPORTED_PARAMS and name not in measure.params
    ]
    better = [each for each in completed if pipeline.supports(each)]
    lacking = [provider for provider in pipeline.providers if provider.supports(measure)]
    if lacking and not better:
        ways = " or ".join(f"pip install 'ir-measures[{each.NAME}]'" for each in lacking)
        return f"no installed package computes it; {ways} brings one that does"
    better += [each for each in completed if any(provider.supports(each) for provider in pipeline.providers)]
    return f"no package computes it with these parameters; {f'write e.g. {better[0]}' if better else 'choose others'}"
