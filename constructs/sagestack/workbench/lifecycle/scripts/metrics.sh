# Publishes metrics, from now until the instance stops. METRICS_INTERVAL: seconds.
exec bash "$SAGESTACK_PROGRAMS/every.sh" publish-metrics "$METRICS_INTERVAL" ec2-user env METRICS_INTERVAL="$METRICS_INTERVAL" \
    "${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}" "$SAGESTACK_PROGRAMS/publish_metrics.py"
