# Installs packages into conda environments that the instance brings; those are new at each start of it.
# PACKAGES: a line for each: manager, environment, packages. What fails keeps nothing else from being installed.
unset SUDO_UID
export PIP_DEFAULT_TIMEOUT=15 PIP_RETRIES=2 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export CONDA_REMOTE_CONNECT_TIMEOUT_SECS=15 CONDA_REMOTE_MAX_RETRIES=2
# Two condas at once wait for each other's locks, or break each other's cache.
mkdir -p "$SAGESTACK_HOME"
exec 9>>"$SAGESTACK_HOME/conda.lock"
flock 9
failed=0
while read -r manager name words <&3; do
    prefix="$SAGESTACK_CONDA/envs/$name"
    [ "$name" != base ] || prefix=$SAGESTACK_CONDA
    if [ ! -x "$prefix/bin/python" ]; then
        echo "There is no environment $name here; there are: base $(cd "$SAGESTACK_CONDA/envs" 2>/dev/null && printf '%s ' *)"
        failed=1
        continue
    fi
    read -ra list <<<"$words"
    case $manager in
    pip) install=(timeout -k 10 1800 "$prefix/bin/python" -m pip install) ;;
    conda) install=(timeout -k 10 3600 "$SAGESTACK_CONDA/bin/conda" install --yes --quiet --prefix "$prefix") ;;
    *)
        echo "$manager is no package manager that is known here (pip, conda)"
        failed=1
        continue
        ;;
    esac
    echo "$manager, into $name: $words"
    code=0
    "${install[@]}" "${list[@]}" 9>&- || code=$?
    if [ "$code" -ne 0 ]; then
        echo "$manager did not install into $name (exit code $code; 124: it took too long): $words"
        failed=1
    fi
done 3<<<"$PACKAGES"
exit "$failed"
