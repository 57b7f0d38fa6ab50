"""The errors of the Application Auto Scaling API, with the codes that botocore's model documents."""

from __future__ import annotations

from local_cloud.sagemaker.errors import ApiError


class ObjectNotFound(ApiError):
    """The scalable target, policy or scheduled action is not there."""

    code = "ObjectNotFoundException"


class ResourceNotFound(ApiError):
    """What is to be tagged is not there."""

    code = "ResourceNotFoundException"


class InvalidNextToken(ApiError):
    """The token of a page is not one of ours."""

    code = "InvalidNextTokenException"


class TooManyTags(ApiError):
    """More tags than one resource may have."""

    code = "TooManyTagsException"
