// Matrices as images, one pixel a cell, enlarged by the browser.

const RED_BLUE = [[33, 102, 172], [146, 197, 222], [255, 255, 255], [244, 165, 130], [178, 24, 43]];
const WHITE_VIOLET = [[255, 255, 255], [203, 201, 226], [158, 154, 200], [106, 81, 163], [63, 0, 125]];

const FULL_SIDE = 542;
const UNKNOWN = [136, 136, 136];

// The colour of a position from 0 to 1.
function colourAt(scale, position) {
  const place = Math.min(1, Math.max(0, position)) * (scale.length - 1);
  const lower = Math.min(scale.length - 2, Math.floor(place));
  return scale[lower].map((value, channel) => Math.round(value + (scale[lower + 1][channel] - value) * (place - lower)));
}

// position(row, column) gives 0 to 1; describe(row, column) a text; address(row, column) where a click leads.
function heatmap({ rows, columns, position, scale, alternative, describe = null, address = null, className = "heatmap" }) {
  const many = rows > 100;
  const canvas = el("canvas", { width: columns, height: rows, class: many ? `${className} many` : className, role: "img", "aria-label": alternative });
  // A whole number of pixels a cell: any other shows a pattern that is not there.
  if (many) canvas.style.maxWidth = `${Math.max(1, Math.floor(FULL_SIDE / columns)) * columns + 2}px`;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const colours = range(256).map((level) => colourAt(scale, level / 255));
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at += 4) {
      const [red, green, blue] = colours[Math.round(255 * Math.min(1, Math.max(0, position(row, column))))] || UNKNOWN;
      pixels.data[at] = red;
      pixels.data[at + 1] = green;
      pixels.data[at + 2] = blue;
      pixels.data[at + 3] = 255;
    }
  }
  context.putImageData(pixels, 0, 0);
  const cell = (event) => {
    const box = canvas.getBoundingClientRect();
    const clamp = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
    return [clamp((event.clientY - box.top) / box.height, rows), clamp((event.clientX - box.left) / box.width, columns)];
  };
  if (describe) {
    canvas.addEventListener("pointermove", (event) => showTip(event, describe(...cell(event))));
    canvas.addEventListener("pointerleave", hideTip);
  }
  if (address) {
    canvas.classList.add("clickable");
    canvas.addEventListener("click", (event) => { location.hash = address(...cell(event)); });
  }
  return canvas;
}

function scaleBar(scale, lower, middle, upper) {
  const canvas = heatmap({ rows: 1, columns: 256, position: (_, column) => column / 255, scale, alternative: "", className: "scale" });
  canvas.setAttribute("aria-hidden", "true");
  return el("div", { class: "scale-bar" }, canvas, el("div", {}, el("span", {}, lower), middle && el("span", {}, middle), el("span", {}, upper)));
}

// How much more often than for independent, equally used bins, from the joint distribution's 0 to 254. A variable whose
// bins are pooled to some cells can be that many times as frequent.
function times(level, cells) {
  const exponent = (level / 127 - 1) * Math.log2(cells);
  const ratio = 2 ** Math.abs(exponent);
  if (ratio < 1.05) return "as often as if independent";
  return `${ratio.toFixed(ratio < 10 ? 1 : 0)} times ${exponent > 0 ? "as often as" : "rarer than"} if independent`;
}

function jointScaleBar(cells) {
  return scaleBar(RED_BLUE, `${cells} times rarer or never`, "white: independent", `${cells} times as often`);
}
