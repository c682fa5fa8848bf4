// Search for variables, bins, classes and names of images.

const searchForm = document.getElementById("search");
const query = document.getElementById("query");
const results = document.getElementById("results");

function found(text) {
  const hits = [];
  const numbers = text.match(/^\D*?(?:variable|v)?\s*(\d+)(?:\D+(\d+))?\s*$/i);
  const named = text.match(/^(?:image|#)\s*(\d+)$/i);
  if (variables && numbers && !named) {
    const [m, k] = [Number(numbers[1]), numbers[2] === undefined ? null : Number(numbers[2])];
    if (m < M && k === null) hits.push([`variable=${m}`, `variable ${m}`]);
    if (m < M && k !== null && k < K) hits.push([`variable=${m}&bin=${k}`, `variable ${m}, bin ${k}`]);
  }
  const index = named ? Number(named[1]) : /^\d+$/.test(text) ? Number(text) : NaN;
  if (images.place(index) !== undefined) hits.push([`image=${index}`, `image ${index}: ${readable(images.names[images.place(index)])}`]);
  hits.push(...classHits(text.toLowerCase()));
  const places = placesNamed(text);
  hits.push(...places.slice(0, 8).map((place) => [`image=${images.indices[place]}`, readable(images.names[place])]));
  if (places.length > 8) hits.push([`images=${encodeURIComponent(text)}`, `all ${places.length.toLocaleString("en")} images with this in their name`]);
  return hits;
}

// The images of a class, and the bins in which it is most frequent, the purest first.
function classHits(text) {
  const labels = range(data.classes.length).filter((label) => data.classes[label].toLowerCase().includes(text));
  if (!text || !images.labels || !labels.length || labels.length > 5) return [];
  const ofImages = labels.map((label) => [`images&class=${label}`, `the images of class ${readable(data.classes[label])}`]);
  return [...(labelled ? binHits(labels) : []), ...ofImages];
}

function binHits(labels) {
  const majority = array(variables.labels.majority);
  const p = array(variables.labels.purityPValue);
  const purity = array(variables.labels.purity);
  return range(M * K).filter((at) => labels.includes(majority[at]) && p[at] < SIGNIFICANT).sort((a, b) => purity[b] - purity[a]).slice(0, 5)
    .map((at) => [`variable=${Math.floor(at / K)}&bin=${at % K}`, `variable ${Math.floor(at / K)}, bin ${at % K}: ${percent(purity[at])} ${readable(data.classes[majority[at]])}`]);
}

function search() {
  const text = query.value.trim();
  results.hidden = !text;
  if (!text) return results.replaceChildren();
  const hits = found(text);
  return results.replaceChildren(hits.length
    ? el("ul", { "aria-label": "Search results" }, hits.map(([address, title]) => el("li", {}, el("a", { href: `#${address}` }, title))))
    : el("p", { role: "status" }, "Nothing found."));
}

function closeSearch() {
  results.hidden = true;
}

function startSearch() {
  query.addEventListener("input", search);
  query.addEventListener("focus", search);
  searchForm.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
    const first = results.querySelector("a");
    if (first) location.hash = first.hash;
    query.blur();
  });
  searchForm.addEventListener("keydown", (event) => {
    const links = [query, ...results.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && at >= 0) {
      event.preventDefault();
      links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
    } else if (event.key === "Escape") {
      closeSearch();
      document.activeElement.blur();
    }
  });
  document.addEventListener("pointerdown", (event) => { if (!searchForm.contains(event.target)) closeSearch(); });
}
