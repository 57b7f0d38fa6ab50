// What CDK's own diff says, for pairs of templates on stdin: logical id to the impact on it, and of each property.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [root] = process.argv.slice(2);
const { fullDiff } = createRequire(`${root}/package.json`)('@aws-cdk/cloudformation-diff');

const answers = JSON.parse(readFileSync(0, 'utf8')).map(([before, after]) => {
  const impacts = {};
  fullDiff(before, after).resources.forEachDifference((logicalId, change) => {
    const properties = {};
    for (const [name, difference] of Object.entries(change.propertyUpdates)) {
      properties[name] = difference.changeImpact;
    }
    impacts[logicalId] = { impact: change.changeImpact, properties };
  });
  return impacts;
});
process.stdout.write(JSON.stringify(answers));
