# Runs steps one by one, those in the background afterwards; whatever happens to a step, the instance starts.
# For bash 4.2 (Amazon Linux 2) and later. Nothing here may end the script: there is no `set -e`.

: "${SAGESTACK_VOLUME:=/home/ec2-user/SageMaker}" "${SAGESTACK_USER:=ec2-user}" "${SAGESTACK_USER_HOME:=/home/ec2-user}"
: "${SAGESTACK_HOME:=$SAGESTACK_VOLUME/.sagestack}" "${SAGESTACK_PROGRAMS:=/opt/sagestack/programs}"
: "${SAGESTACK_RUN:=/run/sagestack}" "${SAGESTACK_PROFILE:=/etc/profile.d}" "${SAGESTACK_CONDA:=/home/ec2-user/anaconda3}"
: "${SAGESTACK_METADATA:=/opt/ml/metadata/resource-metadata.json}"
# SageMaker's own PATH has a relative folder in it.
export PATH="${SAGESTACK_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" HOME="${HOME:-/root}"
export SAGESTACK_VOLUME SAGESTACK_USER SAGESTACK_USER_HOME SAGESTACK_HOME SAGESTACK_PROGRAMS SAGESTACK_RUN SAGESTACK_CONDA
log_head_kilobytes=256 log_tail_bytes=65536
# All of a hook must end within 300 seconds, and SageMaker itself takes some of them.
foreground_until=$((SECONDS + ${SAGESTACK_BUDGET:-210}))
declare -a steps_in_background=()

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

say() { printf '%s %s\n' "$(now)" "$*"; }

# as USER COMMAND...: what is on the volume is touched with the rights of its owner alone, who could put links there.
as() {
    local user=$1
    shift
    if [ "$user" = root ] || [ "$(id -u)" -ne 0 ] || [ "$(id -un)" = "$user" ]; then
        "$@"
    elif id -u "$user" >/dev/null 2>&1; then
        runuser -u "$user" -- env HOME="$SAGESTACK_USER_HOME" USER="$user" LOGNAME="$user" "$@"
    else
        echo "There is no user $user on this machine."
        return 67
    fi
}

owner() { if id -u "$SAGESTACK_USER" >/dev/null 2>&1; then echo "$SAGESTACK_USER"; else echo root; fi; }

# Copies what people look at to the volume: statuses and logs. A full or read-only volume costs the copy only. One at a time, or
# an older status would follow a newer one. Logs after the status is read and before it is shown: who has ended has its whole log.
publish() {
    (
        flock -w 10 7
        # shellcheck disable=SC2016
        as "$(owner)" bash -c '
            mkdir -p "$2/log" && cp "$1/status.json" "$2/.status.json" || rm -f "$2/.status.json"
            for log in "$1"/log/*.log; do
                to="$2/log/${log##*/}"
                # By content: two writes may have the same time.
                cmp -s "$log" "$to" || { cp "$log" "$2/.log" && mv -f "$2/.log" "$to"; }
            done
            [ ! -e "$2/.status.json" ] || mv -f "$2/.status.json" "$2/status.json"
            rm -f "$2/.log"
        ' publish "$SAGESTACK_RUN" "$SAGESTACK_HOME" 2>/dev/null
    ) 7>"$SAGESTACK_RUN/publish.lock"
    return 0
}

# record NAME STATE EXIT_CODE BEGAN ENDED: the last four as JSON has them.
record() {
    local file separator='' state code began ended
    printf '%s %s %s %s\n' "$2" "$3" "$4" "$5" >"$SAGESTACK_RUN/state/.$1" &&
        mv -f "$SAGESTACK_RUN/state/.$1" "$SAGESTACK_RUN/state/$1"
    (
        flock -w 10 9
        {
            printf '{"start": "%s", "steps": {' "$(cat "$SAGESTACK_RUN/start")"
            for file in "$SAGESTACK_RUN"/state/*; do
                read -r state code began ended <"$file" || continue
                printf '%s"%s": {"state": "%s", "exit_code": %s, "began": %s, "ended": %s}' \
                    "$separator" "${file##*/}" "$state" "$code" "$began" "$ended"
                separator=', '
            done
            printf '}}\n'
        } >"$SAGESTACK_RUN/.status.json" && mv -f "$SAGESTACK_RUN/.status.json" "$SAGESTACK_RUN/status.json"
    ) 9>"$SAGESTACK_RUN/status.lock"
}

# The beginning and the end of a long log; it goes on reading where nothing can be written, so that no step notices.
limited() {
    local rest
    # Not `head`, which keeps to itself what a step says until there is more of it.
    (
        ulimit -c 0 -f "$log_head_kilobytes"
        exec cat
    )
    rest=$(tail -c "$log_tail_bytes" | tr -d '\000')
    [ -z "$rest" ] || printf '\n[... shortened; the end: ...]\n%s\n' "$rest"
}

# run_step NAME USER SECONDS: its exit code; 124 where it took too long.
run_step() {
    local name=$1 user=$2 limit=$3 began code reader give_up looks=0
    local log="$SAGESTACK_RUN/log/$1.log" pipe="$SAGESTACK_RUN/$1.pipe" result="$SAGESTACK_RUN/$1.exit"
    began="\"$(now)\""
    record "$name" running null "$began" null
    rm -f "$pipe" "$result"
    mkfifo -m 600 "$pipe"
    : >"$log"
    limited <"$pipe" >>"$log" 2>/dev/null &
    reader=$!
    (
        as "$user" timeout --kill-after=5 "$limit" bash -euo pipefail "$SAGESTACK_RUN/steps/$name.sh" </dev/null
        code=$?
        [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || echo "Ended: a step like this one may take $limit seconds."
        echo "$code" >"$result.new"
        mv "$result.new" "$result"
    ) >"$pipe" 2>&1 &
    # Not `wait`: a file system that does not answer keeps even a killed process.
    give_up=$((SECONDS + limit + 15))
    until [ -e "$result" ] || [ "$SECONDS" -ge "$give_up" ]; do sleep 0.05; done
    code=$(cat "$result" 2>/dev/null || echo 137)
    # What a step leaves running may hold the pipe for as long as it likes.
    while kill -0 "$reader" 2>/dev/null && [ "$((looks += 1))" -le 50 ]; do sleep 0.02; done
    rm -f "$pipe" "$result"
    if [ "$code" -eq 0 ]; then
        record "$name" succeeded 0 "$began" "\"$(now)\""
        say "$name: succeeded"
    else
        record "$name" failed "$code" "$began" "\"$(now)\""
        say "$name: failed with exit code $code. The end of $SAGESTACK_HOME/log/$name.log:"
        tail -n 20 "$log" | sed 's/^/    /'
    fi
    publish
    return "$code"
}

# file NAME <text: into the folder of programs.
file() {
    local to="$SAGESTACK_PROGRAMS/$1"
    if ! { cat >"$to.new" && chmod 644 "$to.new" && mv -f "$to.new" "$to"; }; then say "could not write $to"; fi
}

# step NAME PLACE USER SECONDS AFTER <bash: PLACE is foreground, required or background.
step() {
    local name=$1 place=$2 user=$3 limit=$4 after=$5 left=$((foreground_until - SECONDS))
    [ "$user" != ec2-user ] || user=$SAGESTACK_USER
    cat >"$SAGESTACK_RUN/steps/$name.sh"
    if [ "$place" = foreground ] && [ "$left" -lt 5 ]; then
        say "$name: goes to the background, since those before it took all the time that there is"
        place=background
    fi
    if [ "$place" = background ]; then
        steps_in_background+=("$name $user $limit $after")
        return
    fi
    [ "$limit" -lt "$left" ] || limit=$((left > 5 ? left : 5))
    if ! run_step "$name" "$user" "$limit" && [ "$place" = required ]; then
        # SageMaker shows what a hook said last.
        say "The script $name is required, and failed: see $SAGESTACK_HOME/log/$name.log, or the lines above."
        exit 1
    fi
}

# environment <"export NAME='value'" lines: for JupyterLab, its kernels and terminals, and for all steps after it.
environment() {
    local mine="$SAGESTACK_PROFILE/sagestack.sh" jupyters="$SAGESTACK_PROFILE/jupyter-env.sh"
    cat >"$SAGESTACK_RUN/variables.sh"
    # shellcheck source=/dev/null
    . "$SAGESTACK_RUN/variables.sh"
    {
        # For what a timer runs.
        export -p | grep -E '^declare -x (SAGESTACK_[A-Z_]+|AWS_(DEFAULT_)?REGION|PATH)='
        cat "$SAGESTACK_RUN/variables.sh"
    } >"$SAGESTACK_RUN/environment.sh"
    if [ -s "$SAGESTACK_RUN/variables.sh" ] || [ -e "$mine" ]; then :; else return; fi
    cmp -s "$SAGESTACK_RUN/variables.sh" "$mine" && return
    mkdir -p "$SAGESTACK_PROFILE" 2>/dev/null
    if install -m 644 "$SAGESTACK_RUN/variables.sh" "$mine" 2>/dev/null; then
        grep -qsF "$mine" "$jupyters" || echo "[ ! -f $mine ] || . $mine" >>"$jupyters"
        touch "$SAGESTACK_RUN/restart-jupyter"
    else
        say "the environment variables reach no kernel: could not write $mine"
    fi
}

# Once, where a step asked for it, and never under somebody's work.
restart_jupyter() {
    [ -e "$SAGESTACK_RUN/restart-jupyter" ] || return 0
    rm -f "$SAGESTACK_RUN/restart-jupyter"
    if ! [ -d "${SAGESTACK_SYSTEMD:-/run/systemd/system}" ] || ! systemctl is-active --quiet jupyter-server.service; then
        return 0
    fi
    if pgrep -u "$SAGESTACK_USER" -f 'ipykernel|IRkernel' >/dev/null || [[ "$(ps -u "$SAGESTACK_USER" -o tty=)" = *pts* ]]; then
        say "JupyterLab is in use and was not restarted: some of what is new is seen after the next start."
    elif systemctl --no-block restart jupyter-server.service; then
        say "JupyterLab restarts, for what is new to reach it."
    else
        say "JupyterLab could not be restarted: some of what is new is seen after the next start."
    fi
}

# The steps in the background: at once, but for those that wait for others.
background() {
    local line name user limit after waits known all
    local -a waiting=("${steps_in_background[@]}") left
    trap 'kill $(jobs -p) 2>/dev/null; interrupted; exit 143' TERM INT HUP
    # Those of another hook first: what they install is what ours stand on.
    flock 8
    all=" ${steps_in_background[*]%% *} "
    for name in $all; do rm -f "$SAGESTACK_RUN/$name.done"; done
    while [ "${#waiting[@]}" -gt 0 ]; do
        left=()
        for line in "${waiting[@]}"; do
            read -r name user limit after <<<"$line"
            waits=''
            for known in $after; do
                case "$all" in *" $known "*) [ -e "$SAGESTACK_RUN/$known.done" ] || waits=$known ;; esac
            done
            if [ -n "$waits" ]; then
                left+=("$line")
            else
                { run_step "$name" "$user" "$limit"; touch "$SAGESTACK_RUN/$name.done"; } 8>&- &
            fi
        done
        waiting=(${left[@]+"${left[@]}"})
        [ "${#waiting[@]}" -eq 0 ] || sleep 0.2
    done
    while [ -n "$(jobs -pr)" ]; do
        publish
        sleep "${SAGESTACK_PUBLISH_EVERY:-10}" &
        wait $!
    done
    restart_jupyter
    publish
}

# What runs no longer, and could not say so.
interrupted() {
    local file state code began ended
    for file in "$SAGESTACK_RUN"/state/*; do
        read -r state code began ended <"$file" && [ "$state" = running ] || continue
        record "${file##*/}" failed 143 "$began" "\"$(now)\""
    done
    publish
}

begin() {
    local name candidate
    umask 022
    if ! mkdir -p "$SAGESTACK_RUN" 2>/dev/null || ! touch "$SAGESTACK_RUN/writable" 2>/dev/null; then
        SAGESTACK_RUN=$(mktemp -d)
        chmod 755 "$SAGESTACK_RUN"
    fi
    if ! mkdir -p "$SAGESTACK_PROGRAMS" 2>/dev/null || ! touch "$SAGESTACK_PROGRAMS/.writable" 2>/dev/null; then
        SAGESTACK_PROGRAMS="$SAGESTACK_RUN/programs"
    fi
    # shellcheck disable=SC2153
    # The first start comes right after the creation, and what that said is kept.
    if [ "$SAGESTACK_HOOK" = create ] || ! [ -e "$SAGESTACK_RUN/created" ]; then
        rm -rf "$SAGESTACK_RUN/state" "$SAGESTACK_RUN/log"
        now >"$SAGESTACK_RUN/start"
        # shellcheck disable=SC2016
        as "$(owner)" bash -c 'cd "$1/log" && for log in *.log; do mv -f "$log" "$log.1"; done' rotate "$SAGESTACK_HOME" 2>/dev/null
    fi
    rm -f "$SAGESTACK_RUN/created"
    mkdir -p "$SAGESTACK_PROGRAMS" "$SAGESTACK_RUN/state" "$SAGESTACK_RUN/steps" "$SAGESTACK_RUN/log"
    [ "$SAGESTACK_HOOK" != create ] || touch "$SAGESTACK_RUN/created"
    name=$(sed -n 's/.*"ResourceName" *: *"\([^"]*\)".*/\1/p' "$SAGESTACK_METADATA" 2>/dev/null)
    export SAGESTACK_INSTANCE="$name" SAGESTACK_NOTEBOOK="${name#"${SAGESTACK_INSTANCE_PREFIX:-}"}"
    SAGESTACK_INSTANCE_ARN=$(sed -n 's/.*"ResourceArn" *: *"\([^"]*\)".*/\1/p' "$SAGESTACK_METADATA" 2>/dev/null)
    SAGESTACK_PYTHON=''
    for candidate in /usr/bin/python3 "$SAGESTACK_CONDA"/bin/python3 "$SAGESTACK_CONDA"/envs/*/bin/python3 "$(command -v python3)"; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || continue
        [ -n "$SAGESTACK_PYTHON" ] || SAGESTACK_PYTHON=$candidate
        if "$candidate" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("boto3"))' 2>/dev/null; then
            SAGESTACK_PYTHON=$candidate
            break
        fi
    done
    export SAGESTACK_RUN SAGESTACK_PROGRAMS SAGESTACK_INSTANCE_ARN SAGESTACK_PYTHON
    trap 'interrupted; exit 143' TERM INT HUP
    say "Sagestack, lifecycle config ${SAGESTACK_CONFIG:-}, hook $SAGESTACK_HOOK, on ${name:-no notebook instance}"
}

# detach FUNCTION: in a shell of its own in a session of its own, which outlives this one and whoever ends it.
detach() {
    local main="$SAGESTACK_RUN/$1-$SAGESTACK_HOOK.sh"
    {
        declare -f
        declare -p steps_in_background log_head_kilobytes log_tail_bytes
        echo "$1"
    } >"$main"
    setsid nohup bash "$main" </dev/null >>"$SAGESTACK_RUN/log/background.log" 2>&1 8>>"$SAGESTACK_RUN/background.lock" &
}

finish() {
    restart_jupyter
    if [ "${#steps_in_background[@]}" -gt 0 ]; then
        detach background
        say "In the background now: ${steps_in_background[*]%% *}"
    fi
    say "Logs and statuses: $SAGESTACK_HOME"
    exit 0
}
