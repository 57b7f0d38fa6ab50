# Writes where pip and conda find packages into the user's home, which is new at each start: no password on the volume.
exec "${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}" "$SAGESTACK_PROGRAMS/private_access.py" index
