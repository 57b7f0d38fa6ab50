# Adds extensions to JupyterLab and switches others off. EXTENSIONS: packages; DISABLED: extensions; with spaces between them.
# JupyterLab's own environment belongs to people; root asks only that it be restarted, which is done when nobody works.
export PIP_DEFAULT_TIMEOUT=15 PIP_RETRIES=2 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
system="$SAGESTACK_CONDA/envs/JupyterSystemEnv/bin"
if [ ! -x "$system/python" ]; then
    echo "There is no JupyterLab in $system"
    exit 1
fi
people() {
    if [ "$(id -u)" -ne 0 ] || ! id -u "$SAGESTACK_USER" >/dev/null 2>&1; then
        "$@"
    else
        runuser -u "$SAGESTACK_USER" -- env HOME="$SAGESTACK_USER_HOME" "$@"
    fi
}
failed=0 changed=
read -ra packages <<<"$EXTENSIONS"
if [ "${#packages[@]}" -gt 0 ]; then
    if people timeout -k 10 1800 "$system/python" -m pip install "${packages[@]}"; then
        changed=yes
    else
        echo "pip did not install: $EXTENSIONS"
        failed=1
    fi
fi
for extension in $DISABLED; do
    if people timeout -k 10 120 "$system/jupyter" labextension disable "$extension"; then
        changed=yes
    else
        echo "JupyterLab did not switch off: $extension"
        failed=1
    fi
done
[ -z "$changed" ] || touch "$SAGESTACK_RUN/restart-jupyter"
exit "$failed"
