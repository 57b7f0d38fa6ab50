"""Runs a notebook when the instance starts, and keeps what came of it beside it: the cell that failed included."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Runs `NOTEBOOK_PATH` (below the volume) with the kernel `NOTEBOOK_KERNEL`; 0 if all of its cells did."""
    volume = Path(os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker"))
    path = volume / os.environ["NOTEBOOK_PATH"]
    kernel = os.environ["NOTEBOOK_KERNEL"]
    limit = int(os.environ.get("NOTEBOOK_TIMEOUT", "0"))
    if not path.is_file():
        print(f"There is no notebook {path}")
        return 2
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        print(f"Notebooks cannot be run by {sys.executable}: {error}")
        return 3
    # The kernel's own folder is first, by JUPYTER_PATH: every environment calls its kernel python3.
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        KernelSpecManager().get_kernel_spec(kernel)
    except NoSuchKernel:
        known = ", ".join(sorted(KernelSpecManager().find_kernel_specs())) or "none"
        print(f"There is no kernel {kernel} (there are: {known})")
        return 4
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        print(f"{path} is no notebook: {error}")
        return 5
    output = path.with_suffix(f".{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}.ipynb")
    client = NotebookClient(
        notebook, timeout=limit or None, kernel_name=kernel, resources={"metadata": {"path": str(path.parent)}}
    )
    code = 0
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"A cell failed: {error.ename}: {error.evalue}")
        code = 1
    except Exception as error:
        print(f"The notebook did not run to its end: {type(error).__name__}: {error}")
        code = 1
    new = output.with_suffix(".new")
    nbformat.write(notebook, new)
    new.replace(output)
    print(f"{'failed' if code else 'ran'}: {output}")
    return code


if __name__ == "__main__":
    sys.exit(main())
