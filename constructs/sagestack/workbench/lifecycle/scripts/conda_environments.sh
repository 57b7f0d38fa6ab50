# Makes conda environments on the volume, once for each definition of them, and registers their kernels at each start.
# STORE: the folder of all of them, below SAGESTACK_HOME. ENVIRONMENTS: a line for each: name|language|digest of the definition|channels|packages|pip's.
# An environment is in NAME/DIGEST and has the file `complete` when it is: one that changes is made beside the former,
# whose kernel stays until then, and one that broke off is begun anew.
unset SUDO_UID
export PIP_DEFAULT_TIMEOUT=15 PIP_RETRIES=2 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export CONDA_REMOTE_CONNECT_TIMEOUT_SECS=15 CONDA_REMOTE_MAX_RETRIES=2
STORE="$SAGESTACK_HOME/$STORE"
# On the volume, too: then conda links files rather than copying them.
export CONDA_PKGS_DIRS="$STORE/.packages"
mkdir -p "$STORE"
exec 9>>"$SAGESTACK_HOME/conda.lock"
flock 9

# register NAME LANGUAGE PREFIX
register() {
    local kernel="$SAGESTACK_USER_HOME/.local/share/jupyter/kernels/$1" argv
    case $2 in
    R) argv="\"$3/bin/R\", \"--slave\", \"-e\", \"IRkernel::main()\", \"--args\"" ;;
    *) argv="\"$3/bin/python\", \"-m\", \"ipykernel_launcher\", \"-f\"" ;;
    esac
    mkdir -p "$kernel"
    printf '{"argv": [%s, "{connection_file}"], "display_name": "%s", "language": "%s", "env": %s}\n' "$argv" "$1" "$2" \
        "{\"PATH\": \"$3/bin:\${PATH}\", \"CONDA_PREFIX\": \"$3\"}" >"$kernel/kernel.json"
    echo "kernel $1: $3"
}

# make PREFIX CHANNELS PACKAGES PIPS
make() {
    local -a where=() packages pips
    local channel
    for channel in $2; do where+=(--channel "$channel"); done
    [ -z "$2" ] || where+=(--override-channels)
    read -ra packages <<<"$3"
    read -ra pips <<<"$4"
    timeout -k 10 7200 "$SAGESTACK_CONDA/bin/conda" create --yes --quiet --prefix "$1" \
        ${where[@]+"${where[@]}"} "${packages[@]}" 9>&- || return
    if [ "${#pips[@]}" -gt 0 ]; then
        timeout -k 10 3600 "$1/bin/python" -m pip install "${pips[@]}" 9>&- || return
    fi
    touch "$1/complete"
}

# First what is there: kernels are not to wait for environments that are made.
names=' '
while IFS='|' read -r name language digest _ <&3; do
    names+="$name "
    for place in "$STORE/$name"/*/; do
        [ -d "$place" ] || continue
        place=${place%/}
        if [ ! -e "$place/complete" ] || { [ "${place##*/}" != "$digest" ] && [ -e "$STORE/$name/$digest/complete" ]; }; then
            echo "removes $place"
            rm -rf "$place"
        else
            register "$name" "$language" "$place"
        fi
    done
done 3<<<"$ENVIRONMENTS"
for place in "$STORE"/*/; do
    name=$(basename "$place")
    case "$names" in *" $name "*) continue ;; esac
    [ ! -d "$place" ] || { echo "removes $place: it is defined no more" && rm -rf "$place"; }
done

failed=0
while IFS='|' read -r name language digest channels packages pips <&3; do
    prefix="$STORE/$name/$digest"
    [ ! -e "$prefix/complete" ] || continue
    echo "makes $name: $packages $pips"
    code=0
    make "$prefix" "$channels" "$packages" "$pips" || code=$?
    if [ "$code" -eq 0 ]; then
        register "$name" "$language" "$prefix"
    else
        failed=1
        rm -rf "$prefix"
        echo "$name could not be made (exit code $code; 124: it took too long); the next start tries again. The volume:"
        df -h "$STORE" || true
    fi
done 3<<<"$ENVIRONMENTS"
rm -rf "$CONDA_PKGS_DIRS"
exit "$failed"
