"""A stack that CloudFormation would refuse for its size is refused before, in words."""

import aws_cdk as cdk
import pytest
from sagestack.settings import SettingsError
from sagestack.template_limits import MAX_BYTES, MAX_RESOURCES, check_sizes, synthesize


def _app(resources: int, text: str = "") -> cdk.App:
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "sagestack-dev-workbench")
    for number in range(resources):
        cdk.CfnResource(stack, f"R{number}", type="AWS::CloudFormation::WaitConditionHandle")
    stack.template_options.metadata = {"text": text}
    return app


def test_too_many_resources_are_refused_by_the_name_of_the_stack() -> None:
    with pytest.raises(
        SettingsError, match=r"^sagestack-dev-workbench: has 501 resources, and CloudFormation takes 500 in a stack;"
    ):
        synthesize(_app(MAX_RESOURCES + 1))


def test_a_template_that_is_too_long_is_refused_by_the_name_of_the_stack() -> None:
    with pytest.raises(
        SettingsError, match=r"^sagestack-dev-workbench: its template has \d+ bytes, and CloudFormation takes 1000000;"
    ):
        synthesize(_app(1, "x" * MAX_BYTES))
    check_sizes({"one": MAX_BYTES, "two": 1})


def test_whatever_else_goes_wrong_is_said_as_it_is() -> None:
    class Broken:
        def synth(self) -> None:
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        synthesize(Broken())  # type: ignore[arg-type]
