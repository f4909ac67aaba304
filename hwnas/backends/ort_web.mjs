// Runs and times ONNX models by onnxruntime-web's WASM build. ort_web.py starts it:
//
//     node ort_web.mjs FOLDER
//
// FOLDER has node_modules/onnxruntime-web. Requests come on stdin and answers go to stdout, as JSON, one a line:
//
//     {"load": path}                                       {"model", "inputs": [[name, type, shape], ...]}
//     {"run": model, "feeds": {name: tensor, ...}}         {"outputs": [tensor, ...]}
//     {"time": model, "batch", "fewest", "for_ms", "warmup"}   {"samples_us": [...]}
//     {"keep": n}                                              {}
//     {"evict": bytes}                                         {}
//
// A tensor is [type, shape, base64 of its bytes]. A model is timed with the feeds of its last run. All models but the
// first n are freed by "keep", and their numbers are given again. What fails is answered by {"error": message}.

import { Console } from "node:console";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setFlagsFromString } from "node:v8";

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bool: Uint8Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
};

globalThis.console = new Console(process.stderr); // stdout is for answers
const ort = createRequire(`${process.argv[2]}/`)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const models = [];

async function load(path) {
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  const session = await ort.InferenceSession.create(readFileSync(path), options);
  // V8 compiles WASM quickly first, and well what has run for long. From here on it compiles well at once, or each model
  // would be timed half in slow code; from the start of Node on, it would compile for seconds what runs only once.
  setFlagsFromString("--no-liftoff");
  models.push({ session, feeds: {} });
  return { model: models.length - 1, inputs: session.inputMetadata.map(({ name, type, shape }) => [name, type, shape]) };
}

async function run(model, feeds) {
  for (const [name, [type, shape, bytes]] of Object.entries(feeds)) {
    const { buffer } = Uint8Array.from(Buffer.from(bytes, "base64"));
    models[model].feeds[name] = new ort.Tensor(type, new ARRAYS[type](buffer), shape);
  }
  const results = await models[model].session.run(models[model].feeds);
  return { outputs: models[model].session.outputNames.map((name) => encoded(results[name])) };
}

function encoded({ type, dims, data }) {
  if (type === "string") return [type, dims, ""];
  return [type, dims, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")];
}

// Microseconds of one call: in batches, for so long, and at least so many samples; see Model in runner.py.
async function time(model, batch, fewest, for_ms, warmup) {
  const { session, feeds } = models[model];
  for (let call = 0; call < warmup; call++) await session.run(feeds);
  const samples_us = [];
  const end = performance.now() + for_ms;
  while (samples_us.length < fewest || performance.now() < end) {
    const start = performance.now();
    for (let call = 0; call < batch; call++) await session.run(feeds);
    samples_us.push(((performance.now() - start) * 1e3) / batch);
  }
  return { samples_us };
}

async function keep(first) {
  for (const { session } of models.splice(first)) await session.release();
  return {};
}

// Reads and writes more memory than the caches hold.
let evicting = new Uint8Array(0);
function evict(bytes) {
  if (evicting.length !== bytes) evicting = new Uint8Array(bytes);
  evicting.fill((evicting[0] + 1) % 256);
  return {};
}

async function answer(request) {
  if ("evict" in request) return evict(request.evict);
  if ("keep" in request) return keep(request.keep);
  if ("load" in request) return load(request.load);
  if ("run" in request) return run(request.run, request.feeds);
  return time(request.time, request.batch, request.fewest, request.for_ms, request.warmup);
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await answer(JSON.parse(line)).catch((error) => ({ error: String(error?.message ?? error) }));
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
