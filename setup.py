"""What pyproject.toml cannot say: configs/ is installed as dsi/configs, so that `dsi run demo` works anywhere."""

from setuptools import find_namespace_packages, find_packages, setup

configs = ["dsi.configs", *(f"dsi.configs.{folder}" for folder in find_namespace_packages("configs"))]
setup(packages=[*find_packages(include=["dsi*"]), *configs], package_dir={"dsi.configs": "configs"})
