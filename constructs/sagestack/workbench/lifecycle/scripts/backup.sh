# Looks each quarter of an hour whether a backup is due. BACKUP_HOURS, BACKUP_KEEP, BACKUP_EXCLUDE (a pattern a line).
exec bash "$SAGESTACK_PROGRAMS/every.sh" back-up 900 ec2-user \
    env BACKUP_HOURS="$BACKUP_HOURS" BACKUP_KEEP="$BACKUP_KEEP" BACKUP_EXCLUDE="$BACKUP_EXCLUDE" \
    "${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}" "$SAGESTACK_PROGRAMS/back_up_volume.py" due
