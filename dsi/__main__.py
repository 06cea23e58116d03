"""The command line as `python -m dsi`, for launchers such as `accelerate launch -m dsi train ...`."""

from dsi.cli import main

raise SystemExit(main())
