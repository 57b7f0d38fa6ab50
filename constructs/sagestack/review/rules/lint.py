"""cfn-lint over templates, in a process of its own: it takes as long as CDK's checks do, on the other core.

`python -m sagestack.review.rules.lint REQUEST ANSWER`, both files of JSON, as in `cdk_checks`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cfnlint.config import ConfigMixIn, ManualArgs
from cfnlint.decode import decode_str
from cfnlint.helpers import REGION_PRIMARY, REGIONS
from cfnlint.match import Match
from cfnlint.runner import Runner

from sagestack.review.results import Severity
from sagestack.review.rule_tools import CFN_LINT
from sagestack.review.rules.found import Found

SWITCHED_OFF: Mapping[str, str] = {
    "W3005": "A dependency that a reference implies already: CDK writes them all out, and they harm nobody.",
}
"""Rules that tell nobody anything here, and why. Informational rules (I) are off by cfn-lint's own default."""


def check(templates: Sequence[tuple[Path, str]]) -> list[list[Found]]:
    """What cfn-lint finds in each template, by the schemas of its region, or of us-east-1 where that is open."""
    # Not `cfnlint.api.lint`, which loads all rules again for each template and takes three times as long.
    runners = {region: Runner(ConfigMixIn(**_asked(region))) for region in {region for _, region in templates}}
    return [_found_in(file, runners[region]) for file, region in templates]


def _asked(region: str) -> ManualArgs:
    return ManualArgs(regions=[region if region in REGIONS else REGION_PRIMARY], ignore_checks=[*SWITCHED_OFF, "I"])


def _found_in(file: Path, runner: Runner) -> list[Found]:
    template, not_decoded = decode_str(file.read_text(encoding="utf-8"))
    matches = not_decoded or runner.validate_template(template or {})
    return [_found(match) for match in matches]


def _found(match: Match) -> Found:
    path = [str(each) for each in match.path or []]
    is_of_resource = len(path) > 1 and path[0] == "Resources"
    where = ".".join(path[2:] if is_of_resource else path).removeprefix("Properties.")
    return Found(
        CFN_LINT,
        match.rule.id,
        path[1] if is_of_resource else None,
        Severity.WARNING if match.rule.severity == "error" else Severity.NOTICE,
        f"{where}: {match.message}" if where else match.message,
        match.rule.source_url or None,
    )


def main(request: Path, answer: Path) -> None:
    templates = json.loads(request.read_text(encoding="utf-8"))
    found = check([(Path(template["file"]), template["region"]) for template in templates])
    answer.write_text(json.dumps([[each.to_json() for each in of_one] for of_one in found]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
