"""Tells which options install from the internet: in a network without a way there they fail at each start."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.settings.workbench import LifecycleOptions


def out_of_reach(options: LifecycleOptions) -> list[str]:
    """The options that find nothing in a network without internet: those whose packages come from pip's or conda's public places.

    With a proxy there is a way out. An index or a channel by its address is somewhere that its owner knows to be in reach.
    """
    return [] if options.proxy is not None else list(_from_public_places(options))


def _from_public_places(options: LifecycleOptions) -> Iterator[str]:
    index = options.package_index
    no_pip, no_conda = index is None or index.url is None, index is None or not index.conda_channels
    if any(no_pip if each.manager == "pip" else no_conda for each in options.packages):
        yield "packages"
    if any(
        (no_pip and each.pip) or (no_conda if not each.channels else any("://" not in name for name in each.channels))
        for each in options.conda_environments.values()
    ):
        yield "conda_environments"
    if options.r_kernel and no_conda:
        yield "r_kernel"
    if options.extensions is not None and options.extensions.pip and no_pip:
        yield "extensions"
