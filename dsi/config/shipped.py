"""The configurations that come with dsi, each known by its name: `demo`, `paper/row-1a`, `sweeps/corpus-size`."""

from pathlib import Path

from dsi.errors import DsiError

PACKAGE = Path(__file__).parent.parent
FOLDER = PACKAGE / "configs" if (PACKAGE / "configs").is_dir() else PACKAGE.parent / "configs"
"""The folder that has them: part of the package where it is installed, beside it in a checkout."""
HERE = Path("configs")
"""The folder that one of them stands for where the shell is: a path in it may be that of a run made there."""


def shipped() -> list[str]:
    """The names of the configurations, sorted."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def configuration(argument: str) -> Path:
    """The file that an argument of the command line means: the one at this path, or else the configuration of this name
    that comes with dsi, with `.yaml` or without.

    >>> configuration("paper/row-1a").name
    'row-1a.yaml'

    Raises:
        DsiError: there is neither; the message lists the names.
    """
    path, name = Path(argument), argument.removesuffix(".yaml")
    if path.exists() and not path.is_dir():
        return path
    if name in (names := shipped()):
        return FOLDER / f"{name}.yaml"
    what = "is a folder, not a configuration" if path.is_dir() else "there is no such file"
    raise DsiError(f"{argument}: {what}; those that come with dsi are {', '.join(names)}")


def stand_in(folder: Path) -> Path | None:
    """The folder below `HERE` that a folder of configurations that come with dsi stands for; None for any other."""
    folder, shipped_folder = folder.resolve(), FOLDER.resolve()
    return HERE / folder.relative_to(shipped_folder) if folder.is_relative_to(shipped_folder) else None
