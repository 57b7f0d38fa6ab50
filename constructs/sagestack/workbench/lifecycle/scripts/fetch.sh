# The steps that did not fit in here: a file of the stack's own, which is what it was when the stack was deployed, or nothing.
fetch_steps() {
    local to="$SAGESTACK_RUN/steps-$SAGESTACK_HOOK.sh" from fetch_program
    fetch_program='import boto3, shutil, sys
found = boto3.client("s3").get_object(Bucket=sys.argv[1], Key=sys.argv[2])
shutil.copyfileobj(found["Body"], sys.stdout.buffer)'
    from=${SAGESTACK_STEPS_URL#s3://}
    rm -f "$to"
    # Not as root: conda's Python belongs to people, who may have changed it by the time that this is tried again.
    as "$(owner)" timeout 20 "${SAGESTACK_PYTHON:-python3}" -c "$fetch_program" "${from%%/*}" "${from#*/}" \
        >"$to.new" 2>"$SAGESTACK_RUN/log/fetch-steps.log" ||
        as "$(owner)" timeout 20 aws s3 cp "$SAGESTACK_STEPS_URL" - >"$to.new" 2>>"$SAGESTACK_RUN/log/fetch-steps.log" || return
    if [ "$(sha256sum <"$to.new")" != "$SAGESTACK_STEPS_SHA256  -" ]; then
        echo "$SAGESTACK_STEPS_URL is not what was deployed: its SHA-256 is another." >"$SAGESTACK_RUN/log/fetch-steps.log"
        return 1
    fi
    mv -f "$to.new" "$to"
}

fetched_steps() {
    if fetch_steps; then
        # shellcheck source=/dev/null
        . "$SAGESTACK_RUN/steps-$SAGESTACK_HOOK.sh"
        finish
    fi
    say "The steps could not be fetched from $SAGESTACK_STEPS_URL; this is tried again each minute:"
    tail -n 5 "$SAGESTACK_RUN/log/fetch-steps.log" | sed 's/^/    /'
    if [ -n "${SAGESTACK_REQUIRED:-}" ]; then
        say "The script $SAGESTACK_REQUIRED is required, and could not be fetched from $SAGESTACK_STEPS_URL"
        exit 1
    fi
    record fetch-steps failed 1 "\"$(now)\"" "\"$(now)\""
    publish
    detach steps_later
    exit 0
}

steps_later() {
    until fetch_steps; do sleep "${SAGESTACK_FETCH_EVERY:-60}"; done
    record fetch-steps succeeded 0 "\"$(now)\"" "\"$(now)\""
    # Nobody waits any more.
    # shellcheck disable=SC2034
    foreground_until=$((SECONDS + 100000))
    # shellcheck source=/dev/null
    . "$SAGESTACK_RUN/steps-$SAGESTACK_HOOK.sh"
    finish
}
