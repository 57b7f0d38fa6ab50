"""Explains the one mistake of layout that otherwise shows as a riddle deep inside the CDK.

Import it before `aws_cdk`.
"""

from __future__ import annotations

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def check_layout(root: Path = PROJECT_ROOT) -> None:
    """Raises `ImportError` where a folder of ours hides the package `constructs`, which the CDK stands on.

    `constructs/` is a source root like `src/` elsewhere: without an `__init__.py` it is no package, and Python
    goes on to the installed one. With it, `import aws_cdk` fails with "No module named 'constructs._jsii'".
    `tests/constructs/` does the same under pytest, which puts `tests/` on the path.
    """
    hiding = [root / "constructs" / "__init__.py", root / "tests" / "constructs"]
    for path in hiding:
        if path.exists():
            raise ImportError(
                f"{path.relative_to(root)} hides the package 'constructs' that aws_cdk needs: "
                + ("delete that file" if path.is_file() else "rename that folder")
                + " (our own code is imported as 'sagestack')"
            )


check_layout()
