"""The platform on one screen: one environment, its stacks, its guardrails."""

import sagestack.layout  # isort: skip  # noqa: F401  names the cure where a folder of ours would hide the CDK's own

import gc
import sys
from collections.abc import Mapping
from types import MappingProxyType

import aws_cdk as cdk
from sagestack.guardrails import add_guardrails
from sagestack.settings import (
    Environment,
    EnvironmentNames,
    Model,
    SettingsError,
    check_fit,
    known_environments,
    load_environment,
    load_models,
    load_sources,
)

from stacks import FoundationStack, ServingStack, TrainingStack


def add_platform(
    app: cdk.App,
    environment: Environment,
    models: Mapping[str, Model],
    sources: Mapping[str, Environment] = MappingProxyType({}),
) -> None:
    """Adds all stacks of an environment: one that its models share, and up to two for each of them.

    `sources` are the environments whose versions it serves, by name.
    """
    check_fit(environment, models)
    names = EnvironmentNames(environment.name)
    where = cdk.Environment(account=environment.account, region=environment.region)
    is_kept = environment.removal_policy == "retain"

    foundation = FoundationStack(
        app, names.foundation_stack, environment=environment, env=where, termination_protection=is_kept
    )
    training = {
        name: TrainingStack(
            app,
            names.model(name).training_stack,
            environment=environment,
            model=model,
            foundation=foundation,
            env=where,
            termination_protection=is_kept,
        )
        for name, model in models.items()
    }
    for name, model in models.items():
        if environment.models[name].is_served:
            ServingStack(
                app,
                names.model(name).serving_stack,
                environment=environment,
                model=model,
                foundation=foundation,
                training=training,
                sources=sources,
                env=where,
                termination_protection=is_kept,
            )
    for key, value in environment.tags.items():
        cdk.Tags.of(app).add(key, value)


def main() -> None:
    # A synth ends before garbage matters, and looking for it takes a quarter of the time.
    gc.disable()
    app = cdk.App()
    name = app.node.try_get_context("env")
    if name is None:
        # No default: what a command deploys should be visible in the command.
        sys.exit(f"Say which environment: add -c env=NAME (known: {', '.join(known_environments())})")
    try:
        environment = load_environment(name)
        add_platform(app, environment, load_models(), load_sources(environment))
    except SettingsError as error:
        sys.exit(str(error))
    add_guardrails(app)
    app.synth()


if __name__ == "__main__":
    main()
