"""What SageMaker has answered survives a kill, and so does what it names in other services."""

from __future__ import annotations

import json

from tests.local_cloud_fixtures import LocalCloud

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def test_a_role_is_kept_as_soon_as_sagemaker_may_name_it(own_cloud: LocalCloud) -> None:
    iam, sagemaker = own_cloud.client("iam"), own_cloud.client("sagemaker")
    # Connections first: the kill must come before the state would be written anyway.
    iam.list_roles()
    sagemaker.list_models()
    iam.create_role(RoleName="made-just-now", AssumeRolePolicyDocument=json.dumps(TRUST))
    sagemaker.create_model_package_group(ModelPackageGroupName="names-nothing")
    own_cloud.kill()
    own_cloud.start()
    assert iam.get_role(RoleName="made-just-now")["Role"]["RoleName"] == "made-just-now"
