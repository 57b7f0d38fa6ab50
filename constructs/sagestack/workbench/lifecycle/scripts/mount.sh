# Mounts one file system. MOUNT_KIND, MOUNT_FROM (as mount wants it), MOUNT_HOST and MOUNT_PORT (who must answer), MOUNT_AT,
# MOUNT_OPTIONS; of EFS: MOUNT_EFS (file system:/folder), MOUNT_TLS (options with which the helper encrypts), MOUNT_TLS_ONLY.
# client PROGRAM PACKAGE: what mounts is there, or comes from the system's own repositories, which S3's endpoint reaches.
client() {
    command -v "$1" >/dev/null && return
    echo "installs $2 from the system's own repositories"
    timeout -k 10 600 dnf -y -q install "$2"
}
type=nfs4
if [ "$MOUNT_KIND" = efs ]; then
    if client mount.efs amazon-efs-utils; then
        type=efs MOUNT_FROM=$MOUNT_EFS MOUNT_OPTIONS=$MOUNT_TLS
    elif [ -n "$MOUNT_TLS_ONLY" ]; then
        echo "amazon-efs-utils is not installed here, and without it there is neither IAM nor an access point: not mounted."
        exit 1
    else
        echo "amazon-efs-utils is not installed here: what is read and written is not encrypted on its way."
    fi
elif [ "$MOUNT_KIND" = fsx-lustre ]; then
    type=lustre
    if ! client mount.lustre lustre-client; then
        echo "There is no Lustre client here, and none could be installed: not mounted."
        exit 1
    fi
fi
[ "$type" != nfs4 ] || client mount.nfs4 nfs-utils || echo "There is no NFS client here, and none could be installed."
say_why() {
    if ! timeout 10 getent hosts "$MOUNT_HOST" >/dev/null; then
        echo "The name $MOUNT_HOST is not known: is the file system there, in this VPC, with a mount target in this zone?"
    elif ! timeout 5 bash -c "exec 3<>/dev/tcp/$MOUNT_HOST/$MOUNT_PORT" 2>/dev/null; then
        echo "$MOUNT_HOST does not answer at port $MOUNT_PORT: do its security group and ours let each other in?"
    else
        return 0
    fi
    return 1
}
delay=${MOUNT_DELAY:-5} attempts=${MOUNT_ATTEMPTS:-8}
for ((attempt = 1; attempt <= attempts; attempt++)); do
    if mountpoint -q "$MOUNT_AT"; then
        echo "$MOUNT_AT is mounted."
        runuser -u "$SAGESTACK_USER" -- test -w "$MOUNT_AT" 2>/dev/null ||
            echo "$SAGESTACK_USER cannot write there: whose folder it is, the file system says."
        exit 0
    fi
    # People may put a link there, and root would follow it.
    mkdir -p "$MOUNT_AT"
    if [ "$(realpath "$MOUNT_AT")" != "$MOUNT_AT" ]; then
        echo "There is a link in $MOUNT_AT: not mounted."
        exit 1
    fi
    if say_why; then
        code=0
        timeout -k 5 "${MOUNT_PATIENCE:-60}" mount -t "$type" -o "$MOUNT_OPTIONS" "$MOUNT_FROM" "$MOUNT_AT" || code=$?
        [ "$code" -ne 0 ] || continue
        echo "mount: exit code $code (124 or 137: the file system took too long)"
    fi
    [ "$attempt" -eq "$attempts" ] || sleep "$delay"
    [ "$delay" = 0 ] || delay=$((delay < 60 ? delay * 2 : 60))
done
echo "Not mounted after $attempts attempts: $MOUNT_FROM at $MOUNT_AT"
exit 1
