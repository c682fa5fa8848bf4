// What pairs of variables have in common.

function jointSection() {
  const cells = Math.sqrt(array(variables.joint).length) / M;
  const side = cells * M;
  const levels = array(variables.joint);
  const at = (cell) => Math.floor(cell / cells);
  const bin = (cell) => Math.floor((cell % cells) * (K / cells));
  const canvas = heatmap({
    rows: side, columns: side, scale: RED_BLUE,
    position: (row, column) => levels[row * side + column] / 254,
    alternative: `Joint distribution of all ${M} by ${M} pairs of variables. White is independent, red more frequent, blue rarer. The diagonal blocks are a variable with itself.`,
    describe: (row, column) => `variable ${at(row)} ${cells === K ? `bin ${bin(row)}` : `about bin ${bin(row)}`} with variable ${at(column)} ${cells === K ? `bin ${bin(column)}` : `about bin ${bin(column)}`}: ${times(levels[row * side + column], cells)}`,
    address: (row) => `variable=${at(row)}`,
    className: "heatmap square",
  });
  return section("Joint distribution",
    `How often bin i of one variable (first view, rows) meets bin j of another (second view, columns), for all ${M} × ${M} pairs of variables${cells < K ? `; ${Math.round(K / cells)} × ${Math.round(K / cells)} bins make one point, their mean` : ""}. Good: everything is white but a red diagonal. A click opens a variable, with its block enlarged.${data.numImages < 10 * cells * cells ? ` With ${counted(data.numImages, "image")} for ${cells * cells} pairs of bins, fine speckle is chance.` : ""}`,
    el("div", { class: "beside" }, el("figure", {}, gridded(canvas, M), jointScaleBar(cells)), pictograms(cells < K)));
}

// Lines between the variables, as long as there is room for them.
function gridded(canvas, count) {
  if (count > 20) return canvas;
  const lines = el("div", { class: "grid-lines" });
  lines.style.backgroundSize = `${100 / count}% ${100 / count}%`;
  return el("div", { class: "overlay" }, canvas, lines);
}

// Small made-up examples of three variables, so that the eye knows what to look for.
function pictograms(pooled) {
  const count = 3;
  const bins = 6;
  const draw = (name, text, level) => el("figure", { class: "pictogram" },
    heatmap({ rows: count * bins, columns: count * bins, scale: RED_BLUE, position: (row, column) => level(Math.floor(row / bins), row % bins, Math.floor(column / bins), column % bins), alternative: name, className: "heatmap square" }),
    el("figcaption", {}, el("b", {}, name), ` ${text}`));
  const own = (i, j) => (i === j ? 1 : 0.15);
  return el("div", { class: "pictograms", role: "group", "aria-label": "Examples" },
    draw("Good:", "off the diagonal all is white, each variable says something of its own; red on the diagonal, two views of an image agree.", (m, i, n, j) => (m === n ? own(i, j) : 0.5)),
    draw("Redundant:", `a patterned block off the diagonal, two variables say the same (the points need not be on a line).${pooled ? " Pooling blurs such a pattern; the matrix below does not." : ""}`, (m, i, n, j) => (m === n ? own(i, j) : m + n === 1 ? own(i, (j * 5 + 2) % bins) : 0.5)),
    draw("Collapse:", "blue with single red points, or red lines where a collapsed variable meets a healthy one: most bins are never used.", (m, i, n, j) => (i === 2 && j === 2 ? 1 : 0)),
    draw("Not invariant:", "no red diagonal, two views of one image fall into any bin.", () => 0.5));
}

function redundancySection() {
  if (M < 2) return null;
  const order = Array.from(array(variables.order));
  const pairs = variables.redundantPairs;
  const top = array(variables.mutualInformation).reduce((most, value) => (value > most ? value : most), 1e-9);
  const canvas = heatmap({
    rows: M, columns: M, scale: WHITE_VIOLET,
    position: (row, column) => (shared(order[row], order[column]) || 0) / top,
    alternative: `Normalised mutual information between all pairs of ${M} variables, similar variables side by side. ${pairs.length ? `The strongest pair shares ${round(pairs[0][2])}.` : ""}`,
    describe: (row, column) => `variable ${order[row]} and ${row === column ? "its own second view" : `variable ${order[column]}`}: ${round(shared(order[row], order[column]), 3)}`,
    address: (row) => `variable=${order[row]}`,
    className: "heatmap square",
  });
  return section("Do the variables say different things?",
    "Normalised mutual information of each pair: white if one says nothing of the other. On the diagonal a variable meets its own second view: two variables that say the same are as dark as that. Similar variables stand side by side. Good: white but for the diagonal. Violet squares beside it: groups that say the same.",
    el("div", { class: "beside" },
      el("figure", {}, canvas, scaleBar(WHITE_VIOLET, "0, nothing shared", null, `${round(top)}, the most`)),
      el("div", {}, el("h3", {}, "Most redundant pairs"),
        el("table", { class: "plain" },
          el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "variables"), el("th", { scope: "col" }, "shared information"))),
          el("tbody", {}, pairs.slice(0, 12).map(([m, other, value]) => el("tr", {},
            el("td", {}, el("a", { href: `#variable=${m}` }, `variable ${m}`), " and ", el("a", { href: `#variable=${other}` }, `variable ${other}`)),
            el("td", {}, levelBar(value, top), round(value, 3)))))))));
}

function levelBar(value, top = 1) {
  const filled = el("i", {});
  filled.style.width = `${100 * Math.min(1, Math.max(0, (value || 0) / top))}%`;
  return el("span", { class: "level", "aria-hidden": "true" }, filled);
}
