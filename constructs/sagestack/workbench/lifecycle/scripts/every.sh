# every.sh NAME SECONDS USER COMMAND...: runs the command again and again, the first time at once, until the instance stops.
# With a timer of systemd where it answers; else with cron, to the minute; else with a loop of its own. A second call with the
# same name takes the place of the first. The command finds the variables of the lifecycle config; what it says goes to
# $SAGESTACK_HOME/log/NAME.log, the last megabyte of it.
set -euo pipefail

name=$1 seconds=$2 user=$3
shift 3
[ "$user" != ec2-user ] || user=$SAGESTACK_USER
once="$SAGESTACK_RUN/every-$name.sh"
log="$SAGESTACK_RUN/log/$name.log"

{
    echo '#!/bin/bash'
    # A timer of systemd has no home, where clients of AWS look for their settings.
    # shellcheck disable=SC2016
    printf 'export HOME="${HOME:-/root}"\n. %q\n' "$SAGESTACK_RUN/environment.sh"
    # One at a time: what takes longer than its interval is left alone.
    printf 'exec 9>>%q\nflock -n 9 || exit 0\n' "$SAGESTACK_RUN/every-$name.lock"
    printf 'log=%q\n' "$log"
    # shellcheck disable=SC2016
    echo '[ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -lt 1048576 ] || mv -f "$log" "$log.1"'
    printf 'as() {\n'
    if [ "$user" != root ] && [ "$(id -u)" -eq 0 ] && [ "$user" != "$(id -un)" ]; then
        printf '    runuser -u %q -- env HOME=%q USER=%q "$@"\n' "$user" "$SAGESTACK_USER_HOME" "$user"
    else
        # shellcheck disable=SC2016
        echo '    "$@"'
    fi
    # shellcheck disable=SC2016
    printf '}\nas'
    printf ' %q' "$@"
    # shellcheck disable=SC2016
    printf ' 9>&- >>"$log" 2>&1 || echo "exit code $?" >>"$log"\n'
    owner=root
    ! id -u "$SAGESTACK_USER" >/dev/null 2>&1 || owner=$SAGESTACK_USER
    # With the rights of its owner: people may put links on the volume.
    if [ "$owner" != "$(id -un)" ] && [ "$(id -u)" -eq 0 ]; then
        printf 'runuser -u %q -- ' "$owner"
    fi
    # shellcheck disable=SC2016
    printf 'cp "$log" %q 2>/dev/null || true\n' "$SAGESTACK_HOME/log/"
} >"$once.new"
mv -f "$once.new" "$once"

# What an earlier call left.
if [ -s "$once.pid" ]; then
    earlier=$(cat "$once.pid")
    if tr '\0' ' ' <"/proc/$earlier/cmdline" 2>/dev/null | grep -qF "$once"; then kill "$earlier" || true; fi
    rm -f "$once.pid"
fi

units=${SAGESTACK_UNITS:-/etc/systemd/system}
if [ -d "${SAGESTACK_SYSTEMD:-/run/systemd/system}" ] && command -v systemctl >/dev/null; then
    printf '[Unit]\nDescription=Sagestack: %s\n[Service]\nType=oneshot\nExecStart=/bin/bash %s\n' \
        "$name" "$once" >"$units/sagestack-$name.service"
    printf '[Unit]\nDescription=Sagestack: %s, again and again\n[Timer]\nOnActiveSec=1\nOnUnitActiveSec=%s\nAccuracySec=1\n' \
        "$name" "$seconds" >"$units/sagestack-$name.timer"
    if systemctl daemon-reload && systemctl restart "sagestack-$name.timer"; then
        echo "A timer of systemd runs it every $seconds seconds (sagestack-$name.timer)."
        exit 0
    fi
    echo "systemd took no timer."
fi

cron=${SAGESTACK_CRON:-/etc/cron.d}
if [ -d "$cron" ] && { pgrep -x crond || pgrep -x cron; } >/dev/null 2>&1; then
    minutes=$(((seconds + 59) / 60))
    if [ "$minutes" -lt 60 ]; then when="*/$minutes * * * *"; else when="0 */$(((minutes + 59) / 60 < 24 ? (minutes + 59) / 60 : 23)) * * *"; fi
    printf '%s root /bin/bash %s\n' "$when" "$once" >"$cron/sagestack-$name"
    chmod 644 "$cron/sagestack-$name"
    echo "cron runs it ($when)."
    setsid nohup /bin/bash "$once" </dev/null >/dev/null 2>&1 &
    exit 0
fi

# shellcheck disable=SC2016
setsid nohup bash -c 'echo $$ >"$0.pid"; while :; do /bin/bash "$0"; sleep "$1"; done' "$once" "$seconds" \
    </dev/null >/dev/null 2>&1 &
echo "Neither systemd nor cron answers: a loop runs it every $seconds seconds."
