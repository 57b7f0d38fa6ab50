"""What is known of notebooks that run before anybody looks at them: what stops them, and what an hour of them costs.

Without the CDK: the command line reads it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from functions.idle_report.report import BY_THE_CLOCK
from sagestack.review.prices import Prices
from sagestack.settings.workbench import LifecycleOptions, Notebook


def stopped_by(notebook: Notebook, lifecycle_configs: Mapping[str, LifecycleOptions]) -> list[str]:
    """What stops a notebook, in words; nothing where nothing does."""
    options = lifecycle_configs.get(notebook.lifecycle_config or "")
    found = []
    if options is not None and options.auto_stop is not None:
        found.append(f"auto-stop after {options.auto_stop.idle_minutes} min")
    if notebook.hours is not None and notebook.hours.stop is not None:
        found.append(f"{BY_THE_CLOCK}{notebook.hours.stop} {notebook.hours.time_zone}")
    return found


def prices_of(
    prices: Prices, region: str, notebooks: Mapping[str, Notebook], studio_instance_types: Iterable[str]
) -> dict[str, Any]:
    """What an hour costs of the instance types in use: all types together are more than a function's variables hold."""
    table = prices.of(region)
    if table is None:
        return {
            "usd_per_hour": {},
            "source": f"none are known for {region} (sagestack prices refresh --region {region})",
        }
    wanted = {f"notebook {each.instance_type}": each.instance_type for each in notebooks.values()}
    # AWS asks the same for both: https://aws.amazon.com/sagemaker/pricing/
    wanted |= {f"Studio application {each}": each for each in studio_instance_types}
    found = {key: table.get(f"sagemaker.notebook.{kind}") for key, kind in sorted(wanted.items())}
    return {
        "usd_per_hour": {key: price.usd for key, price in found.items() if price is not None},
        "source": f"list prices of {region} for notebook instances, of {table.date}",
    }
