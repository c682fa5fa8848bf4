// The report's numbers, and the images that the page shows. Arrays are decoded when they are first asked for.

const data = JSON.parse(document.getElementById("data").textContent);

const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array,
};
const decoded = new Map();

function bytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // much faster, but not in browsers before 2025
  const text = atob(base64);
  const result = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) result[i] = text.charCodeAt(i);
  return result;
}

function array(packed) {
  if (!packed) return null;
  if (!decoded.has(packed)) decoded.set(packed, new ARRAYS[packed.type](bytes(packed.data).buffer));
  return decoded.get(packed);
}

const variables = data.variables;
const M = variables ? variables.count : 0;
const K = variables ? variables.bins : 0;
const labelled = Boolean(variables && variables.labels);
const SIGNIFICANT = 0.05;

// An image is known by its index in the data set; its place is where it stands among the shown ones.
const images = (() => {
  const indices = array(data.images.indices);
  const places = new Map();
  indices.forEach((index, place) => places.set(index, place));
  return {
    count: indices.length,
    indices,
    names: data.images.names,
    labels: array(data.images.labels),
    uniform: array(data.images.uniform),
    place: (index) => places.get(index),
    all: indices.length === data.numImages,
  };
})();

const classOf = (label) => (label >= 0 && label < data.classes.length ? data.classes[label] : label >= 0 ? `class ${label}` : null);
const classAt = (place) => (images.labels ? classOf(images.labels[place]) : null);

const perVariable = (packed, m) => (packed ? array(packed)[m] : null);
const perBin = (packed, m, k) => (packed ? array(packed)[m * K + k] : null);
const shared = (m, other) => array(variables.mutualInformation)[m * M + other];
const binOf = (place, m) => array(variables.imageBins)[place * M + m];
const viewsInBin = (place, m) => array(variables.viewsInBin)[place * M + m];
const certaintyOf = (place, m) => array(variables.certainty)[place * M + m] / 255;
// Of all images of its bin, the share that is surer: 0 for the surest.
const quantileOf = (place, m) => array(variables.quantile)[place * M + m] / 255;

// What a variable shares with its own second view: two variables that said the same would share as much.
const sharedWithItself = (m) => shared(m, m);
// From 0, independent, to 1, the same.
const sharedPart = (m, other) => Math.min(1, shared(m, other) / Math.max(1e-9, Math.sqrt(sharedWithItself(m) * sharedWithItself(other))));

// What unrelated variables seem to share because the images are few, where every image is surely in one bin; less elsewhere.
const sharedByChance = variables ? Math.min(1, (K - 1) ** 2 / (2 * data.numImages) / Math.log(K)) : 0;
const chanceOfSharing = sharedByChance < 0.01 ? "" : ` By chance alone, ${data.numImages.toLocaleString("en")} images give up to about ${sharedByChance.toFixed(2)}.`;

// Agreement from 0, no more than by chance, to 1, always.
function agreementAboveChance(m) {
  const chance = perVariable(variables.agreementByChance, m);
  return chance < 0.99 ? Math.max(0, (perVariable(variables.agreement, m) - chance) / (1 - chance)) : 0;
}

// The most frequent classes of a bin and their shares of its labelled images, the most frequent first.
function classesOf(m, k) {
  const per = variables.labels.frequent.shape[2];
  const labels = array(variables.labels.frequent);
  const counts = array(variables.labels.frequentCounts);
  // The purity is the share of the first one.
  const size = counts[(m * K + k) * per] / perBin(variables.labels.purity, m, k);
  return range(per).map((at) => (m * K + k) * per + at).filter((at) => counts[at] > 0).map((at) => [labels[at], counts[at] / size]);
}

function tellsLabel(m) {
  return labelled && perVariable(variables.labels.pValue, m) < SIGNIFICANT;
}

const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN);
const range = (count) => Array.from({ length: count }, (_, index) => index);
