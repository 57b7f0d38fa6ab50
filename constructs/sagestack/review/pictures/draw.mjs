// Draws DOT with Graphviz, as WebAssembly: no machine needs `dot` for a review. Reads a JSON list of DOT texts from stdin,
// writes a JSON list of {svg} or {error}.
import { instance } from "@viz-js/viz";

let text = "";
for await (const part of process.stdin) text += part;
const viz = await instance();
const drawn = JSON.parse(text).map((dot) => {
  const result = viz.render(dot, { format: "svg" });
  return result.status === "success" ? { svg: result.output } : { error: result.errors.map((e) => e.message).join("; ") };
});
process.stdout.write(JSON.stringify(drawn));
