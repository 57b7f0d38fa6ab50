"""Python runs this at its start where this folder is on PYTHONPATH: hides what `.venv` has and the image has not.

The children of tests stand for the image. XGBoost imports scikit-learn and scipy wherever they can be found, which
takes 1.6 seconds of a processor for each process and has code run that the image never runs.
"""

import sys
from types import ModuleType

_hidden: dict[str, ModuleType | None] = dict.fromkeys(("sklearn", "scipy"))
sys.modules.update(_hidden)  # type: ignore[arg-type]  # None: "not there", for `import` and for `find_spec`
