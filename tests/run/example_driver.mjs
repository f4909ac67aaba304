// What examples/web/classify.mjs makes of pictures: requests come on stdin and answers go to stdout, as JSON, one a line.
import { createInterface } from "node:readline";

const { inputOf } = await import(process.argv[2]);

for await (const line of createInterface({ input: process.stdin })) {
  const { width, height, rgba, preprocess } = JSON.parse(line);
  const data = new Uint8ClampedArray(Buffer.from(rgba, "base64"));
  const values = inputOf({ width, height, data }, preprocess);
  process.stdout.write(`${JSON.stringify({ kind: values.constructor.name, values: Array.from(values) })}\n`);
}
