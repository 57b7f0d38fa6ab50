// What CDK's own diff says, for pairs of templates on stdin: logical id to the impact on it, and of each property.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [root] = process.argv.slice(2);
const { fullDiff } = createRequire(`${root}/package.json`)('@aws-cdk/cloudformation-diff');

function impacts(before, after) {
  const found = {};
  fullDiff(before, after).resources.forEachDifference((logicalId, change) => {
    const properties = {};
    for (const [name, difference] of Object.entries(change.propertyUpdates)) {
      properties[name] = difference.changeImpact;
    }
    found[logicalId] = { impact: change.changeImpact, properties };
  });
  return found;
}

// It reads policies on the way, and throws on one that it does not understand: that costs this stack's answer, and no other's.
const answers = JSON.parse(readFileSync(0, 'utf8')).map(([before, after]) => {
  try {
    return { impacts: impacts(before, after) };
  } catch (error) {
    return { error: String(error) };
  }
});
process.stdout.write(JSON.stringify(answers));
