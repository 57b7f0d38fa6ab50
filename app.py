"""The platform on one screen: one environment, its stacks, its guardrails."""

import sagestack.layout  # isort: skip  # noqa: F401  names the cure where a folder of ours would hide the CDK's own

import gc
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

import aws_cdk as cdk
from sagestack.guardrails import add_guardrails
from sagestack.permissions_boundary import carry_permissions_boundary
from sagestack.settings import (
    DeliveryNames,
    Environment,
    EnvironmentNames,
    Model,
    SettingsError,
    check_fit,
    github_delivery,
    known_environments,
    load_delivery,
    load_environment,
    load_models,
    load_sources,
)
from sagestack.template_limits import synthesize

from constructs import Construct
from stacks import FoundationStack, ServingStack, TrainingStack


def add_platform(
    scope: Construct,
    environment: Environment,
    models: Mapping[str, Model],
    sources: Mapping[str, Environment] = MappingProxyType({}),
) -> None:
    """Adds all stacks of an environment: one that its models share, up to two for each of them, and one of what people work with.

    `scope` is the app, or a stage of the delivery pipeline: the stacks are the same in both. `sources` are the
    environments whose versions it serves, by name.
    """
    check_fit(environment, models)
    names = EnvironmentNames(environment.name)
    where = cdk.Environment(account=environment.account, region=environment.region)
    is_kept = environment.removal_policy == "retain"

    foundation = FoundationStack(
        scope,
        names.foundation_stack,
        stack_name=names.foundation_stack,
        environment=environment,
        env=where,
        termination_protection=is_kept,
    )
    training = {
        name: TrainingStack(
            scope,
            names.model(name).training_stack,
            stack_name=names.model(name).training_stack,
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
                scope,
                names.model(name).serving_stack,
                stack_name=names.model(name).serving_stack,
                environment=environment,
                model=model,
                foundation=foundation,
                training=training,
                sources=sources,
                env=where,
                termination_protection=is_kept,
            )
    if environment.workbench is not None:
        # Imported here, as the parts below: an environment without notebooks should not wait for them.
        from sagestack.workbench.lifecycle.fit import check_lifecycle_configs

        from stacks.workbench import WorkbenchStack

        check_lifecycle_configs(environment)
        WorkbenchStack(
            scope,
            names.workbench_stack,
            stack_name=names.workbench_stack,
            environment=environment,
            foundation=foundation,
            training=training,
            env=where,
            termination_protection=is_kept,
        )
    if environment.permissions_boundary:
        carry_permissions_boundary(foundation, environment=environment, everywhere_in=scope)
    for key, value in environment.tags.items():
        cdk.Tags.of(scope).add(key, value)


def add_bootstrap(app: cdk.App) -> None:
    """Adds who may deploy an environment, and what a deployment may do. An administrator deploys it: `sagestack bootstrap`."""
    from stacks.bootstrap import BootstrapStack

    environment = _environment(app)
    github = github_delivery(environment)
    BootstrapStack(
        app,
        EnvironmentNames(environment.name).bootstrap_stack,
        environment=environment,
        delivery=github.delivery if github else None,
        makes_identity=github is not None and github.makes_identity,
        sources=load_sources(environment),
        env=cdk.Environment(account=environment.account, region=environment.region),
        termination_protection=environment.removal_policy == "retain",
    )
    for key, value in environment.tags.items():
        cdk.Tags.of(app).add(key, value)


def add_delivery(app: cdk.App) -> None:
    """Adds the pipeline that deploys all environments of `delivery.yaml` from git, each in a stage of its own."""
    # Imported here: a synth of an environment should not wait for what it does not use.
    from stacks.delivery import DeliveryStack

    delivery = load_delivery()
    if delivery.pipeline is None:
        raise SettingsError(["delivery.yaml: pipeline: is null, so there is no pipeline to synthesize"])
    models = load_models()
    DeliveryStack(
        app,
        DeliveryNames().stack,
        delivery=delivery,
        aws_pipeline=delivery.pipeline,
        environments={stage.environment: load_environment(stage.environment) for stage in delivery.stages},
        add_platform=lambda scope, environment: add_platform(scope, environment, models, load_sources(environment)),
        env=cdk.Environment(account=delivery.pipeline.account, region=delivery.pipeline.region),
        termination_protection=True,
    )


def add_environment(app: cdk.App) -> None:
    """Adds the platform of the environment that `-c env=NAME` names."""
    environment = _environment(app)
    add_platform(app, environment, load_models(), load_sources(environment))


PARTS: Mapping[str, Callable[[cdk.App], None]] = {
    "platform": add_environment,
    "delivery": add_delivery,
    "bootstrap": add_bootstrap,
}
"""What `-c part=NAME` synthesizes; nothing said is the platform."""


def _environment(app: cdk.App) -> Environment:
    name = app.node.try_get_context("env")
    if name is None:
        # No default: what a command deploys should be visible in the command.
        raise SettingsError([f"Say which environment: add -c env=NAME (known: {', '.join(known_environments())})"])
    return load_environment(name)


def main() -> None:
    # A synth ends before garbage matters, and looking for it takes a quarter of the time.
    gc.disable()
    app = cdk.App()
    part = app.node.try_get_context("part") or "platform"
    try:
        if part not in PARTS:
            raise SettingsError([f"part: {part!r} is nothing that this app has (known: {', '.join(PARTS)})"])
        PARTS[part](app)
        if not app.node.try_get_context("sagestack:review"):
            # A review looks for what breaks a rule itself, and in both sides.
            add_guardrails(app)
        synthesize(app)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
