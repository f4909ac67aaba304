// Runs a snippet by onnxruntime-web: `node snippet_driver.mjs NODE_FOLDER SNIPPET MODEL RGBA`, and prints its scores.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, snippet, model, rgba] = process.argv.slice(2);
const ort = createRequire(`${folder}/`)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const { openClassifier } = await import(pathToFileURL(snippet));
const classify = await openClassifier(ort, readFileSync(model));
console.log(JSON.stringify(await classify(new Uint8ClampedArray(readFileSync(rgba)))));
