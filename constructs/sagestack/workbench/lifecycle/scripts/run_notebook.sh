# Runs a notebook with JupyterLab's own tools and the kernel of a conda environment. NOTEBOOK_PATH, NOTEBOOK_KERNEL.
python="$SAGESTACK_CONDA/envs/JupyterSystemEnv/bin/python"
[ -x "$python" ] || python=${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}
# The kernel of an environment that the instance brings is called python3 in it, whatever its own name is.
kernels="$SAGESTACK_CONDA/envs/$NOTEBOOK_KERNEL/share/jupyter"
if [ -d "$kernels/kernels" ] && [ ! -e "$SAGESTACK_USER_HOME/.local/share/jupyter/kernels/$NOTEBOOK_KERNEL" ]; then
    export JUPYTER_PATH=$kernels
    NOTEBOOK_KERNEL=python3
    [ "${kernels%/envs/R/*}" = "$kernels" ] || NOTEBOOK_KERNEL=ir
fi
export NOTEBOOK_KERNEL
exec "$python" "$SAGESTACK_PROGRAMS/run_notebook.py"
