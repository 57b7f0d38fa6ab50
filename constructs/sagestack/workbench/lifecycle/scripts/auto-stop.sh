# Has the program that stops the instance look once a minute, and gives people the command that keeps it running.
if [ -z "$SAGESTACK_PYTHON" ]; then
    echo "There is no Python 3.8 or later here, which auto-stop needs: this instance does not stop by itself."
    exit 1
fi
command="${SAGESTACK_BIN:-/usr/local/bin}/keep-running"
if ! {
    printf '#!/bin/bash\n. %q\nexec %q %q "$@"\n' \
        "$SAGESTACK_RUN/environment.sh" "$SAGESTACK_PYTHON" "$SAGESTACK_PROGRAMS/keep_running.py" >"$command" &&
        chmod 755 "$command"
}; then
    echo "The command keep-running could not be installed; .sagestack/keep-running-until does the same."
fi
# Not as root, who must not run a Python that people can change: conda's is theirs.
user=root
! id -u "$SAGESTACK_USER" >/dev/null 2>&1 || user=$SAGESTACK_USER
bash "$SAGESTACK_PROGRAMS/every.sh" auto-stop "${AUTO_STOP_EVERY:-60}" "$user" "$SAGESTACK_PYTHON" "$SAGESTACK_PROGRAMS/auto_stop.py"
