// All variables, to sort and filter.

const COLUMNS = variables ? [
  { key: "variable", title: "variable", value: (m) => m, explanation: "The variable's number." },
  { key: "entropy", title: "entropy", value: (m) => perVariable(variables.entropies, m), explanation: "1: all bins equally often. 0: always the same bin." },
  { key: "used", title: "bins used", value: (m) => perVariable(variables.binsUsed, m), top: K, explanation: "Bins that at least one image falls into.", whole: true },
  { key: "agreement", title: "agreement", value: agreementAboveChance, explanation: "How often two views of an image fall into the same bin, from 0, as often as two different images, to 1, always." },
  labelled && { key: "label", title: "label information", value: (m) => perVariable(variables.labels.information, m), explanation: "Normalised mutual information with the label, 0 to 1. Pale: no more than shuffled labels give." },
  M > 1 && { key: "shared", title: "shares most with", value: (m) => shared(m, closestTo(m)), explanation: "The variable that says most of the same, and how much, 0 to 1." },
].filter(Boolean) : [];

const FILTERS = ["entropy", "agreement", "label"];
const table = { sort: labelled ? "label" : "agreement", falling: true, atLeast: {}, telling: false };

const closestTo = (m) => array(variables.related)[m * (array(variables.related).length / M) + 1];

function chosenVariables() {
  const sorted = COLUMNS.find((column) => column.key === table.sort);
  const sign = table.falling ? -1 : 1;
  return range(M)
    .filter((m) => COLUMNS.every((column) => !(table.atLeast[column.key] > 0) || column.value(m) >= table.atLeast[column.key]))
    .filter((m) => !table.telling || tellsLabel(m))
    .sort((a, b) => sign * (sorted.value(a) - sorted.value(b)) || a - b);
}

function variableTable() {
  if (!variables) return noVariables();
  const body = el("tbody", {});
  const found = el("p", { role: "status", class: "explanation" });
  const headers = COLUMNS.map((column) => el("th", { scope: "col" }, el("button", { type: "button", title: column.explanation, "data-sort": column.key, onclick: () => {
    table.falling = table.sort === column.key ? !table.falling : column.key !== "variable";
    table.sort = column.key;
    fill();
  } }, column.title)));
  function fill() {
    const chosen = chosenVariables();
    found.textContent = `${chosen.length} of ${counted(M, "variable")}`;
    headers.forEach((header, index) => header.setAttribute("aria-sort", COLUMNS[index].key !== table.sort ? "none" : table.falling ? "descending" : "ascending"));
    body.replaceChildren(...chosen.map((m) => el("tr", {}, COLUMNS.map((column) => cellOf(column, m)))));
  }
  fill();
  return [
    el("h1", { tabindex: -1 }, "Variables"),
    el("p", { class: "lead" }, "A click on a column's title sorts by it, a second click turns the order round. Entropy: 1 if all bins occur equally often, 0 if one bin holds everything. Agreement: how often two views of an image fall into the same bin, from 0 (no more than two different images) to 1 (always)."),
    el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() }, COLUMNS.filter((column) => FILTERS.includes(column.key)).map((column) => {
      const shown = el("output", {}, round(table.atLeast[column.key] || 0));
      const input = el("input", { type: "range", min: 0, max: 1, step: 0.01, value: table.atLeast[column.key] || 0, "data-filter": column.key, oninput: () => {
        table.atLeast[column.key] = Number(input.value);
        shown.textContent = round(Number(input.value));
        fill();
      } });
      return el("label", {}, `${column.title} at least `, input, shown);
    }), labelled && el("label", {}, el("input", { type: "checkbox", checked: table.telling, onchange: (event) => { table.telling = event.target.checked; fill(); } }), " only those that tell the label (p < 0.05)")),
    found,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the variables" }, el("table", { class: "variables" }, el("thead", {}, el("tr", {}, headers)), body)),
  ];
}

function cellOf(column, m) {
  if (column.key === "variable") return el("th", { scope: "row" }, el("a", { href: `#variable=${m}` }, `variable ${m}`));
  const value = column.value(m);
  const text = column.whole ? String(value) : round(value);
  const bar = levelBar(value, column.top || 1);
  if (column.key === "label" && !tellsLabel(m)) return el("td", { class: "faint" }, bar, text, el("small", {}, " chance"));
  if (column.key === "shared") return el("td", {}, levelBar(sharedPart(m, closestTo(m))), text, " ", el("a", { href: `#variable=${closestTo(m)}` }, `variable ${closestTo(m)}`));
  return el("td", {}, bar, text);
}

function noVariables() {
  return [el("h1", { tabindex: -1 }, "No variables"), el("p", {}, `${data.method} has no variables with bins: only IMSVD has. `, el("a", { href: "#representation" }, "See the representation."))];
}
