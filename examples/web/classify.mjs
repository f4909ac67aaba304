// Classifies pictures by a model file of hwnas, with onnxruntime-web. All that it knows of the model is in model.json.

const ORT = "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
const LUMA = [299, 587, 114];

/** What went wrong, in words for whoever looks at the page. */
export class Problem extends Error {}

/**
 * The model of a folder that `hwnas export` wrote.
 *
 * folder: its address; file: the name of a file in it, or nothing for the first one that onnxruntime-web reads.
 */
export async function load(folder, file) {
  const { about, name } = chosen(await description(folder), file);
  const facts = about.files[name];
  const content = new Uint8Array(await (await fetched(`${folder}/${name}`)).arrayBuffer());
  if (content.length !== facts.bytes) {
    throw new Problem(`${name} has ${content.length} bytes, not the ${facts.bytes} that model.json says: export it again.`);
  }
  const ort = await import(ORT).catch(() => {
    throw new Problem("onnxruntime-web is not beside this page: README.md says how npm installs it.");
  });
  ort.env.wasm.numThreads = 1; // more take a page that is isolated from others
  try {
    const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
    const model = new Model(ort, session, name, facts, about.labels);
    await model.scores({ width: 1, height: 1, data: new Uint8ClampedArray(4) }); // the first call is slow
    return model;
  } catch (error) {
    throw new Problem(`onnxruntime-web cannot run ${name}: ${error.message ?? error}`);
  }
}

class Model {
  constructor(ort, session, name, facts, labels) {
    Object.assign(this, { ort, session, name, facts, labels });
  }

  /** A picture's classes as [name, probability], the best first, and the milliseconds of a call. */
  async classify(picture) {
    const { scores, ms } = await this.scores(picture);
    if (scores.length !== this.labels.length || !scores.every(Number.isFinite)) {
      throw new Problem(`${this.name} does not give one number for each of the ${this.labels.length} classes.`);
    }
    const classes = this.labels.map((label, k) => [label, scores[k]]);
    return { classes: classes.sort((a, b) => b[1] - a[1]), ms };
  }

  async scores(picture) {
    const { input, output, preprocess } = this.facts;
    const values = inputOf(picture, preprocess);
    const feeds = { [input.name]: new this.ort.Tensor(preprocess.dtype, values, input.shape) };
    const start = performance.now();
    let calls = 0;
    let results;
    do {
      results = await this.session.run(feeds);
      calls += 1;
    } while (calls < 3 || (calls < 50 && performance.now() - start < 20)); // the clock of a browser is coarse
    const ms = (performance.now() - start) / calls;
    const scores = Array.from(results[output.name].data);
    return { scores: preprocess.output === "logits" ? softmax(scores) : scores, ms };
  }
}

async function description(folder) {
  const answer = await fetched(`${folder}/model.json`);
  const about = await answer.json().catch(() => null);
  if (about?.format !== "hwnas model") throw new Problem(`${folder}/model.json is not what hwnas export writes.`);
  return about;
}

async function fetched(address) {
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok) throw new Problem(`${address} is not there: write a model with hwnas export, as README.md says.`);
  return answer;
}

/** The description, and the name of the file to run; a problem where a browser cannot. */
export function chosen(about, file) {
  const names = Object.keys(about.files).filter((name) => /\.(onnx|ort)$/.test(name));
  const name = file || names[0];
  if (!names.includes(name)) {
    throw new Problem(`model.json names no model ${file || "for onnxruntime-web"}; it has ${names.join(", ") || "none"}.`);
  }
  const { color, values } = about.files[name].preprocess;
  if (!["rgb", "gray"].includes(color)) throw new Problem(`${name} reads images of channels that no picture has.`);
  if (values) throw new Problem(`${name} reads images of more than 8 bits, which a browser does not give to a page.`);
  return { about, name };
}

/**
 * What a model reads of a picture.
 *
 * picture: {width, height, data} with RGBA bytes, as a canvas gives them; what is transparent counts as its colour.
 * preprocess: as in model.json.
 */
export function inputOf(picture, preprocess) {
  const [height, width] = preprocess.resize;
  const rgb = fitted(picture, width, height, preprocess);
  const gray = preprocess.color === "gray";
  const channels = gray ? 1 : 3;
  const of = (value, channel) => (Array.isArray(value) ? value[channel] : value);
  const result = new (preprocess.dtype === "uint8" ? Uint8Array : Float32Array)(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      const at = 3 * pixel;
      const level = gray ? Math.floor(LUMA.reduce((sum, part, k) => sum + part * rgb[at + k], 500) / 1000) : rgb[at + channel];
      const value = (level * preprocess.scale - of(preprocess.mean, channel)) / of(preprocess.std, channel);
      result[preprocess.layout === "nhwc" ? pixel * channels + channel : channel * width * height + pixel] = value;
    }
  }
  return result;
}

/** RGB bytes of the picture at this size, fitted as the images that the model learned from. */
export function fitted(picture, width, height, { fit, pad_value: padding }) {
  const { width: across, height: down } = picture;
  if (fit === "squash") return resized(picture, [0, 0, across, down], width, height);
  if (fit === "pad") {
    const scale = Math.min(width / across, height / down);
    const [inner, tall] = [across, down].map((side) => Math.max(1, toEven(side * scale)));
    const small = resized(picture, [0, 0, across, down], inner, tall);
    const result = new Uint8Array(3 * width * height).fill(padding);
    const [left, top] = [Math.floor((width - inner) / 2), Math.floor((height - tall) / 2)];
    for (let row = 0; row < tall; row++) {
      result.set(small.subarray(3 * inner * row, 3 * inner * (row + 1)), 3 * (width * (top + row) + left));
    }
    return result;
  }
  const shape = width / height;
  const [taken, high] = across / down >= shape ? [shape * down, down] : [across, across / shape];
  const [left, top] = [(across - taken) / 2, (down - high) / 2];
  return resized(picture, [left, top, left + taken, top + high], width, height);
}

/** Bilinear with antialias, first across and then down, with bytes in between: as Pillow resizes. */
function resized({ width: across, height: down, data }, [left, top, right, bottom], width, height) {
  const columns = taps(across, left, right, width);
  const rows = taps(down, top, bottom, height);
  const first = rows[0].start;
  const end = Math.max(...rows.map(({ start, parts }) => start + parts.length));
  const narrow = new Uint8Array(3 * width * (end - first));
  for (let y = first; y < end; y++) {
    for (let x = 0; x < width; x++) {
      const { start, parts } = columns[x];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0.5;
        for (let k = 0; k < parts.length; k++) sum += parts[k] * data[4 * (across * y + start + k) + channel];
        narrow[3 * (width * (y - first) + x) + channel] = sum;
      }
    }
  }
  const result = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const { start, parts } = rows[y];
    for (let at = 0; at < 3 * width; at++) {
      let sum = 0.5;
      for (let k = 0; k < parts.length; k++) sum += parts[k] * narrow[3 * width * (start - first + k) + at];
      result[3 * width * y + at] = sum;
    }
  }
  return result;
}

/** The pixels that each of `count` new ones is made of, and how much of it each one is. */
function taps(size, from, to, count) {
  const step = (to - from) / count;
  const reach = Math.max(step, 1);
  return Array.from({ length: count }, (_, k) => {
    const centre = from + (k + 0.5) * step;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(size, Math.trunc(centre + reach + 0.5));
    const parts = [];
    for (let x = start; x < end; x++) parts.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / reach)));
    const sum = parts.reduce((one, other) => one + other, 0);
    return { start, parts: parts.map((part) => part / sum) };
  });
}

/** The nearest whole number, of two the even one. */
function toEven(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((one) => Math.exp(one - largest));
  const sum = powers.reduce((one, other) => one + other, 0);
  return powers.map((one) => one / sum);
}
