"""Tells which options install from the internet: in a network without a way there they fail at each start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagestack.settings.workbench import LifecycleOptions


def out_of_reach(options: LifecycleOptions) -> list[str]:
    """The options that find nothing in a network without internet: those whose packages come from pip's or conda's public places.

    With a proxy there is a way out. An index or a channel by its address is somewhere that its owner knows to be in reach.
    """
    return [] if options.proxy is not None else list(_from_public_places(options))


def _from_public_places(options: LifecycleOptions) -> Iterator[str]:
    index = options.package_index
    channels = index.conda_channels if index is not None else []
    no_pip, no_conda = index is None or index.url is None, _public(channels)
    if any(no_pip if each.manager == "pip" else no_conda for each in options.packages):
        yield "packages"
    if any((no_pip and each.pip) or _public(each.channels or channels) for each in options.conda_environments.values()):
        yield "conda_environments"
    if options.r_kernel and no_conda:
        yield "r_kernel"
    if options.extensions is not None and options.extensions.pip and no_pip:
        yield "extensions"


def _public(channels: Sequence[str]) -> bool:
    """Whether conda looks on the internet: without channels, and by names like conda-forge."""
    return not channels or any("://" not in name for name in channels)
