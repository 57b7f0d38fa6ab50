# Copies the example notebooks to the volume, and leaves alone what people changed or deleted.
if [ -z "$SAGESTACK_PYTHON" ]; then
    echo "There is no Python 3.8 or later here, which copies the example notebooks."
    exit 1
fi
exec "$SAGESTACK_PYTHON" "$SAGESTACK_PROGRAMS/copy_examples.py"
