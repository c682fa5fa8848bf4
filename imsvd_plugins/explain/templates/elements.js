// Elements of the page. All texts go in as text nodes: a file name is shown, never read as HTML.

function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.flat().filter(Boolean));
  return element;
}

// Characters that would break a line, turn its direction or not show at all.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function readable(text) {
  return String(text)
    .replace(/\n/g, "↵")
    .replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function round(value, digits = 2) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}

function percent(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = value > 0 && value < 0.01 ? "<1" : value < 1 && value > 0.99 ? ">99" : Math.round(100 * value);
  return `${text}\u00a0%`; // with a space that does not break
}

function probability(p) {
  return p === null || Number.isNaN(p) ? "–" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function section(title, explanation, ...children) {
  return el("section", {}, el("h2", {}, title), explanation && el("p", { class: "explanation" }, explanation), ...children);
}

function details(summary, ...children) {
  return el("details", {}, el("summary", {}, summary), ...children);
}

// A number with one line that says what it is, and where it stands between collapse and the best.
function figureOf(name, value, explanation, position = null, ends = ["collapse", "best"]) {
  const meter = position === null ? null : el("div", { class: "meter" }, el("i", {}), el("span", {}, ends[0]), el("span", {}, ends[1]));
  if (meter) meter.firstChild.style.left = `${100 * Math.min(1, Math.max(0, position))}%`;
  return el("div", { class: "number" }, el("h3", {}, name), el("p", { class: "value" }, value), meter, el("p", { class: "explanation" }, explanation));
}

// Ten colours that stay apart for the colour-blind too; more classes share them in hues. None is grey, which means no class.
const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#994f00", "#44bb99", "#bb88dd"];

function classColour(label) {
  if (label === null || label < 0) return "#999999";
  const classes = data.classes.length;
  return classes <= COLOURS.length ? COLOURS[label % COLOURS.length] : `hsl(${Math.round((360 * label) / classes)} 60% 50%)`;
}

function classLegend(labels) {
  if (!labels.length || labels.length > 40) return null;
  return el("ul", { class: "legend", "aria-label": "Colours of the classes" }, labels.map((label) => {
    const swatch = el("i", {});
    swatch.style.background = classColour(label);
    return el("li", {}, swatch, readable(classOf(label)));
  }));
}

const tip = document.getElementById("tip");

function showTip(event, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8))}px`;
}

function hideTip() {
  tip.hidden = true;
}
