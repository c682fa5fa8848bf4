// Bars, lines and points.

const WIDTH = 640;

// Vertical bars from 0 to top. A bar is {value, label, address, colour}; marks are values to compare it with.
function bars(items, { top = 1, height = 130, marks = null, alternative, selected = null }) {
  const step = WIDTH / items.length;
  const width = Math.max(1, step - (step > 4 ? 1 : 0));
  const y = (value) => height * (1 - Math.min(1, Math.max(0, value / top)));
  const drawn = items.map((item, index) => {
    const shape = svg("g", { class: index === selected ? "bar selected" : "bar" },
      svg("rect", { x: index * step, y: 0, width: step, height, class: "target" }),
      svg("rect", { x: index * step, y: y(item.value || 0), width, height: height - y(item.value || 0), class: item.class || "filled", ...(item.colour ? { fill: item.colour } : {}) }),
      marks && svg("rect", { x: index * step, y: y(marks[index]) - 1, width, height: 2, class: "mark" }));
    shape.addEventListener("pointermove", (event) => showTip(event, item.label));
    shape.addEventListener("pointerleave", hideTip);
    if (item.address) shape.addEventListener("click", () => { location.hash = item.address; });
    return shape;
  });
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": alternative, class: items[0] && items[0].address ? "chart clickable" : "chart" }, drawn);
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, Number.isInteger(top) ? top : round(top, 2)), el("span", {}, "0"));
  return el("div", { class: "plot" }, axis, chart);
}

const short = (value) => (value >= 0.01 && value < 1e5 ? String(Number(value.toPrecision(2))) : value.toExponential(0));

// A falling line with logarithmic values.
function spectrumChart(values, alternative) {
  const height = 200;
  const positive = values.filter((value) => value > 0);
  if (!positive.length) return el("p", {}, "All singular values are 0: the features have collapsed.");
  const upper = Math.log10(positive[0]);
  const lower = Math.max(upper - 6, Math.log10(positive[positive.length - 1]));
  const x = (index) => (WIDTH * index) / Math.max(1, values.length - 1);
  const y = (value) => (value > 0 ? Math.min(height, (height * (upper - Math.log10(value))) / Math.max(1e-9, upper - lower)) : height);
  const points = Array.from(values, (value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": alternative, class: "chart" },
    svg("polyline", { points, class: "line" }));
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const index = Math.min(values.length - 1, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * (values.length - 1))));
    showTip(event, `singular value ${index + 1} of ${values.length}: ${values[index].toPrecision(3)}`);
  });
  chart.addEventListener("pointerleave", hideTip);
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, short(10 ** upper)), el("span", {}, short(10 ** lower)));
  return el("div", { class: "plot" }, axis, chart);
}

// Points {x, y, colour, index}: the nearest one's thumbnail follows the pointer, a click opens its image.
function scatter(points, alternative) {
  const side = 900;
  const canvas = el("canvas", { width: side, height: side * 0.7, class: "scatter clickable", role: "img", "aria-label": alternative });
  const context = canvas.getContext("2d");
  const bounds = (key) => points.reduce(([low, high], point) => [Math.min(low, point[key]), Math.max(high, point[key])], [Infinity, -Infinity]);
  const [left, right] = bounds("x");
  const [bottom, upper] = bounds("y");
  const margin = 14;
  const placed = points.map((point) => ({
    ...point,
    px: margin + ((point.x - left) / (right - left || 1)) * (canvas.width - 2 * margin),
    py: margin + ((upper - point.y) / (upper - bottom || 1)) * (canvas.height - 2 * margin),
  }));
  const radius = points.length > 1500 ? 3 : 5;
  context.globalAlpha = 0.75;
  for (const point of placed) {
    context.fillStyle = point.colour;
    context.beginPath();
    context.arc(point.px, point.py, radius, 0, 2 * Math.PI);
    context.fill();
  }
  const nearest = (event) => {
    const box = canvas.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * canvas.width;
    const py = ((event.clientY - box.top) / box.height) * canvas.height;
    const distance = (point) => (point.px - px) ** 2 + (point.py - py) ** 2;
    const found = placed.reduce((best, point) => (distance(point) < distance(best) ? point : best));
    return distance(found) < 900 ? found : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    if (!point) return hideTip();
    const place = images.place(point.index);
    return showTip(event, ...(place === undefined ? [] : [picture(place, 72)]), el("span", {}, point.label));
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("click", (event) => {
    const point = nearest(event);
    if (point) location.hash = `image=${point.index}`;
  });
  return canvas;
}
