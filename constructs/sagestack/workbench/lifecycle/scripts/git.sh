# Sets the identity in git, and who answers for the password of which hosts, for all users of the instance.
# IDENTITY_NAME, IDENTITY_EMAIL; CREDENTIAL_HOSTS, with spaces between them; CREDENTIAL_SECRET.
git config --system user.name "$IDENTITY_NAME"
git config --system user.email "$IDENTITY_EMAIL"
for host in $CREDENTIAL_HOSTS; do
    python=${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}
    # By host: who asks for another one must not get it. What SageMaker has set for its own clones stays.
    git config --system --replace-all "credential.https://$host.helper" \
        "!'$python' '$SAGESTACK_PROGRAMS/private_access.py' git '$CREDENTIAL_SECRET'"
done
