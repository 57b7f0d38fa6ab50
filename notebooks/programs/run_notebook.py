"""Runs a notebook when the instance starts, and keeps what came of it beside it: the cell that failed included."""

from __future__ import annotations

import os
import sys
import time


def main() -> int:
    """Runs `NOTEBOOK_PATH` (below the volume) with the kernel `NOTEBOOK_KERNEL`; 0 if all of its cells did."""
    volume = os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker")
    path = os.path.join(volume, os.environ["NOTEBOOK_PATH"])
    kernel = os.environ["NOTEBOOK_KERNEL"]
    limit = int(os.environ.get("NOTEBOOK_TIMEOUT", "0"))
    if not os.path.isfile(path):
        print("There is no notebook %s" % path)
        return 2
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        print("Notebooks cannot be run by %s: %s" % (sys.executable, error))
        return 3
    # The kernel's own folder is first, by JUPYTER_PATH: every environment calls its kernel python3.
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        KernelSpecManager().get_kernel_spec(kernel)
    except NoSuchKernel:
        known = ", ".join(sorted(KernelSpecManager().find_kernel_specs())) or "none"
        print("There is no kernel %s (there are: %s)" % (kernel, known))
        return 4
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        print("%s is no notebook: %s" % (path, error))
        return 5
    stem, folder = os.path.splitext(path)[0], os.path.dirname(path)
    output = "%s.%s.ipynb" % (stem, time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime()))
    client = NotebookClient(
        notebook, timeout=limit or None, kernel_name=kernel, resources={"metadata": {"path": folder}}
    )
    code = 0
    try:
        client.execute()
    except CellExecutionError as error:
        print("A cell failed: %s: %s" % (error.ename, error.evalue))
        code = 1
    except Exception as error:
        print("The notebook did not run to its end: %s: %s" % (type(error).__name__, error))
        code = 1
    nbformat.write(notebook, output + ".new")
    os.replace(output + ".new", output)
    print("%s: %s" % ("ran" if code == 0 else "failed", output))
    return code


if __name__ == "__main__":
    sys.exit(main())
