"""Which actions of others the workflows run, each pinned to a commit: a tag can be moved to other code, a commit cannot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """An action of GitHub's marketplace at one commit."""

    name: str
    version: str
    """The release that the commit is, for people and for tools that look for newer ones."""
    commit: str

    @property
    def pinned(self) -> str:
        """What stands behind `uses:`."""
        return f"{self.name}@{self.commit}"


# Each pair of version and commit was found in at least four public repositories that have nothing to do with each other
# (for the first two, psf/requests and aws-powertools/powertools-lambda-python among them), on 2026-11-21.
# How to take a newer one: docs/reference/delivery.md.
CHECKOUT = Action("actions/checkout", "v6.0.2", "de0fac2e4500dabe0009e67214ff5f5447ce83dd")
SETUP_PYTHON = Action("actions/setup-python", "v6.2.0", "a309ff8b426b58ec0e2a45f0f869d46889d02405")
UPLOAD_ARTIFACT = Action("actions/upload-artifact", "v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f")
DOWNLOAD_ARTIFACT = Action("actions/download-artifact", "v8.0.0", "70fc10c6e5e1ce46ad2ea6f2b72d43f7d47b13c3")
UPLOAD_SARIF = Action("github/codeql-action/upload-sarif", "v4.32.4", "89a39a4e59826350b863aa6b6252a07ad50cf83e")
CONFIGURE_AWS_CREDENTIALS = Action(
    "aws-actions/configure-aws-credentials", "v6.0.0", "8df5847569e6427dd6c4fb1cf565c83acfa8afa7"
)
SETUP_QEMU = Action("docker/setup-qemu-action", "v3.7.0", "c7c53464625b32c7a7e944ae62b3e17d2b600130")

ACTIONS = (
    CHECKOUT,
    SETUP_PYTHON,
    UPLOAD_ARTIFACT,
    DOWNLOAD_ARTIFACT,
    UPLOAD_SARIF,
    CONFIGURE_AWS_CREDENTIALS,
    SETUP_QEMU,
)
"""All of them: nothing else runs in the workflows but `run` steps."""
