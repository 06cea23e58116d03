"""What pyproject.toml cannot say: configs/ is installed as dsi/configs, so that `dsi run demo` works anywhere."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["dsi*"]), "dsi.configs"], package_dir={"dsi.configs": "configs"})
