"""What is in the apps of a Studio domain: scripts that run when they start, and images of one's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.paths import check_below
from sagestack.settings.workbench.lifecycle_session import Proxy, VariableName, VariableValue
from sagestack.settings.workbench.lifecycle_software import PackageSpec
from sagestack.settings.workbench.studio_people import AppType

SoftwareName = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=24),
    Allowed("lower-case letters, digits and single hyphens, at most 24 characters"),
]
"""Short: SageMaker's names have 63 characters, and the environment and a hash of the content are in them, too."""


_OPTIONS = ("environment_variables", "packages", "git", "proxy", "examples")


class GitIdentity(Settings):
    """Whose name commits have."""

    user_name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$"), Allowed("a name, up to 100 characters")]
    user_email: Annotated[str, Field(pattern=r"^[^\s@'\"]+@[^\s@'\"]+$"), Allowed("an e-mail address")]


class StudioLifecycleConfig(Settings):
    """What runs each time that an app starts: a script of one's own (`script`), or what is said by options.

    SageMaker gives it five minutes: https://docs.aws.amazon.com/sagemaker/latest/dg/jl-lcc-debug.html. Packages are therefore
    installed in the background, with a log in the space.
    """

    app: Annotated[AppType, Allowed("jupyter-lab or code-editor")] = "jupyter-lab"
    default: Annotated[bool, Allowed("true or false")] = False
    """Whether it runs where nobody chose another; people may choose it, default or not."""
    always: Annotated[bool, Allowed("true or false")] = False
    """Whether it runs in each app, before the one that was chosen, and cannot be chosen itself: SageMaker's built-in lifecycle
    config, which spaces find in the domain each time that an app starts. The default one is noted in a space when that is made.
    An update of a domain that does not mention it leaves it: to end it, let it do nothing (`{always: true}`).
    https://docs.aws.amazon.com/sagemaker/latest/dg/studio-lifecycle-configurations.html"""
    script: Annotated[
        str | None,
        Field(pattern=r"^[\w./ -]+\.sh$"),
        AfterValidator(lambda path: path if path is None else check_below(path)),
        Allowed("the path of a .sh file in the project, from its root, or null"),
    ] = None
    environment_variables: Annotated[
        dict[VariableName, VariableValue], Field(max_length=50), Allowed("up to 50 variables: NAME: 'value'")
    ] = {}
    packages: Annotated[
        list[PackageSpec], Field(max_length=100), Allowed("up to 100 packages as pip knows them, like polars==1.31.0")
    ] = []
    git: Annotated[GitIdentity | None, Allowed("null, or user_name and user_email")] = None
    proxy: Annotated[Proxy | None, Allowed("null, or http, https and no_proxy")] = None
    examples: Annotated[bool, Allowed("true or false")] = False
    """Whether the project's example notebooks are copied to `examples` in the space, from an archive of the stack's own."""

    @model_validator(mode="after")
    def _does_something(self) -> StudioLifecycleConfig:
        options = [name for name in _OPTIONS if getattr(self, name)]
        if self.script is not None and options:
            raise ValueError(
                f"a script of your own and {', '.join(options)} do not go together: write them into the script, or make"
                " two lifecycle configs (a person chooses one of them for a space)"
            )
        # One that always runs may do nothing: SageMaker forgets none but for another.
        if self.script is None and not options and not self.always:
            raise ValueError("it does nothing: say script, or environment_variables, packages, git, proxy or examples")
        if self.always and self.default:
            raise Misfit((("default",), "true does not fit always: true: it runs in any case, and cannot be chosen"))
        return self


_NOT_BLANK = r"^[^\n]*\S[^\n]*$"
"""One line with something in it:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-sagemaker-appimageconfig-containerconfig.html"""


class CustomImage(Settings):
    """An image that people may start an app from, besides SageMaker's own.

    CloudFormation knows the container's entry point, arguments and variables, and for these apps no user, group or mount path:
    SageMaker mounts the volume at /home/sagemaker-user for user 1000 and group 100.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-sagemaker-appimageconfig-jupyterlabappimageconfig.html
    """

    app: Annotated[AppType, Allowed("jupyter-lab or code-editor")] = "jupyter-lab"
    default: Annotated[bool, Allowed("true or false")] = False
    """Whether apps start from it where nobody chose another."""
    image_uri: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9]+([._/-][a-z0-9]+)*"
            r"(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})$",
            max_length=255,
        ),
        Allowed("an image in ECR with its tag or digest, or null"),
    ] = None
    folder: Annotated[
        str | None,
        Field(pattern=r"^[\w./ -]+$"),
        AfterValidator(lambda path: path if path is None else check_below(path)),
        Allowed("a folder of the project with a Dockerfile, from its root, or null"),
    ] = None
    display_name: Annotated[
        str | None, Field(pattern=r"^\S(.*\S)?$", max_length=128), Allowed("what people see, or null: its name")
    ] = None
    entrypoint: Annotated[
        str | None,
        Field(pattern=_NOT_BLANK, max_length=256),
        Allowed("the program that starts, up to 256 characters, or null: the image's own"),
    ] = None
    arguments: Annotated[
        list[Annotated[str, Field(pattern=_NOT_BLANK, max_length=64)]],
        Field(max_length=50),
        Allowed("up to 50, each up to 64 characters and not blank"),
    ] = []
    environment_variables: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)],
            Annotated[str, Field(pattern=_NOT_BLANK, max_length=256)],
        ],
        Field(max_length=25),
        Allowed("up to 25 variables: NAME: 'value', each up to 256 characters and not blank"),
    ] = {}

    @model_validator(mode="after")
    def _one_source(self) -> CustomImage:
        if (self.image_uri is None) == (self.folder is None):
            raise ValueError("say either image_uri (an image in ECR) or folder (one with a Dockerfile)")
        return self
