// The first view: what was learned, in five minutes.

function overview() {
  if (!variables) return [el("h1", { tabindex: -1 }, `What ${data.method} learned`), el("p", { class: "lead" }, `${data.method} gives each image a vector of features, without having seen a label. Below: do the features use their dimensions, which images are alike to them, and do classes come apart? `, el("a", { href: "#images" }, "All images")), collapseWarning(), ...representationFigures()];
  return [
    el("h1", { tabindex: -1 }, `What ${data.method} learned`),
    el("p", { class: "lead" },
      `${data.method} describes each image by ${counted(M, "variable")}. Each variable sorts the images into ${K} bins, without having seen a label. `,
      "Below: are the variables healthy, do they say different things, and what do they mean? ",
      el("a", { href: "#variables" }, "All variables"), " · ", el("a", { href: "#images" }, "all images")),
    collapseWarning(),
    section("In short", null, el("div", { class: "numbers" }, inShort())),
    firstVariables(),
    section("Are the variables used?", "One bar a variable, sorted; a click opens it. Good: all bars near the top. Collapse: bars near zero, for variables that put nearly all images in one bin.", el("div", { class: "columns" }, sortedCharts())),
    jointSection(),
    redundancySection(),
    skippedSection(),
  ];
}

function collapseWarning() {
  const collapsed = range(M).filter((m) => perVariable(variables.entropies, m) < 0.1);
  const rankme = data.representation.rankme;
  const warnings = [];
  if (collapsed.length) {
    warnings.push(el("p", {}, `${counted(collapsed.length, "variable")} of ${M} ${collapsed.length === 1 ? "has" : "have"} collapsed: nearly all images are in one bin (entropy below 0.1). `,
      collapsed.slice(0, 12).map((m) => [el("a", { href: `#variable=${m}` }, `variable ${m}`), " "])));
  }
  if (rankme !== null && rankme < 2) warnings.push(el("p", {}, "The features have collapsed: they span fewer than two directions (RankMe below 2)."));
  return warnings.length ? el("div", { class: "warning", role: "note" }, warnings) : null;
}

function inShort() {
  const entropies = array(variables.entropies);
  const used = array(variables.binsUsed);
  const agreement = array(variables.agreement);
  const off = [];
  for (let m = 0; m < M; m++) for (let other = 0; other < m; other++) off.push(shared(m, other));
  const own = mean(range(M).map(sharedWithItself));
  const { rankme, spectrum } = data.representation;
  const most = array(spectrum).length;
  const numbers = [
    figureOf("Entropy", round(mean(entropies)), "How evenly a variable uses its bins, mean over the variables. 1: all bins equally often. 0: always the same bin.", mean(entropies)),
    figureOf("Bins used", `${round(mean(used), 1)} of ${K}`, "Bins that at least one image falls into, mean over the variables.", (mean(used) - 1) / (K - 1)),
    figureOf("Agreement", percent(mean(agreement)), `How often two random views of one image fall into the same bin; two different images do in ${percent(mean(array(variables.agreementByChance)))}. High: the variable keeps to the image, not to the crop.`, mean(range(M).map(agreementAboveChance)), ["chance", "always"]),
    figureOf("Shared information", off.length ? round(mean(off)) : "–", `Normalised mutual information of two variables, mean over the pairs. 0: each says something of its own. ${round(own)}: all say the same; that much a variable shares with its own second view.${chanceOfSharing}`, off.length ? 1 - mean(off) / own : null, ["all the same", "independent"]),
    figureOf("Effective rank (RankMe)", round(rankme, 1), `How many directions the backbone's features really use, of at most ${most}. 1: collapse. Drawn on a logarithmic scale.`, rankme && most > 1 ? Math.log(rankme) / Math.log(most) : null, ["collapse", "all equally"]),
  ];
  if (labelled) {
    const telling = range(M).filter(tellsLabel).length;
    numbers.push(figureOf("Variables that tell the label", `${telling} of ${M}`, "Variables whose bins go together with the labels more than shuffled labels would (p < 0.05, corrected for the number of variables). Labels were not used in training.", telling / M, ["none", "all"]));
  }
  return numbers;
}

// A few variables that are worth a look before the others.
function firstVariables() {
  const telling = range(M).filter(tellsLabel).sort((a, b) => perVariable(variables.labels.information, b) - perVariable(variables.labels.information, a));
  const steady = (m) => agreementAboveChance(m) * perVariable(variables.entropies, m);
  const first = (telling.length ? telling : range(M).sort((a, b) => steady(b) - steady(a))).slice(0, 3);
  const which = telling.length
    ? `${first.length === 1 ? "The variable that tells" : `The ${first.length} variables that tell`} most about the label, with the four purest bins.`
    : `${labelled ? "No variable tells more about the label than chance would. " : ""}The variables whose two views agree most often, with their four largest bins.`;
  const explanation = `${which} Each strip runs from the image that the network is surest of (left) to the least sure one (right): a bin means something if the whole strip looks alike.`;
  return section("Start here", explanation, el("div", { class: "cards" }, first.map((m) => {
    const members = membersOfAll(m);
    const smallest = Math.min(5, data.numImages / Math.max(1, perVariable(variables.binsUsed, m)) / 4);
    const score = telling.length
      ? (k) => (perBin(variables.counts, m, k) < smallest ? -1 : perBin(variables.labels.purity, m, k) || 0)
      : (k) => perBin(variables.counts, m, k);
    const chosen = range(K).filter((k) => members[k].length).sort((a, b) => score(b) - score(a)).slice(0, 4);
    return el("article", {}, el("h3", {}, el("a", { href: `#variable=${m}` }, `Variable ${m}`)),
      el("p", { class: "explanation" }, variableInWords(m)),
      chosen.map((k) => el("div", { class: "strip" },
        el("a", { href: `#variable=${m}&bin=${k}`, class: "bin-name" }, `bin ${k}`, el("small", {}, purityInWords(m, k) || counted(perBin(variables.counts, m, k), "image"))),
        imagesOf(acrossCertainty(members[k], m, 7), () => null, 44))));
  })));
}

function variableInWords(m) {
  const parts = [`entropy ${round(perVariable(variables.entropies, m))}`, `agreement ${percent(perVariable(variables.agreement, m))}`];
  if (labelled) parts.push(`label information ${round(perVariable(variables.labels.information, m))}${tellsLabel(m) ? "" : " (no more than chance)"}`);
  return parts.join(" · ");
}

function purityInWords(m, k) {
  if (!labelled || !(perBin(variables.labels.purity, m, k) >= 0)) return null;
  if (perBin(variables.labels.purityPValue, m, k) >= SIGNIFICANT) return null;
  return `class ${readable(classOf(perBin(variables.labels.majority, m, k)))}: ${percent(perBin(variables.labels.purity, m, k))}`;
}

function sortedCharts() {
  const chart = (title, explanation, packed, top, marks = null, isChance = () => false, rank = null) => {
    const values = array(packed);
    const height = rank || ((m) => values[m]);
    const order = range(M).sort((a, b) => height(b) - height(a));
    const text = (m) => `variable ${m}: ${Number.isInteger(values[m]) ? values[m] : round(values[m], 3)}${marks ? `, by chance ${round(array(marks)[m], 3)}` : ""}`;
    return el("figure", {}, el("figcaption", {}, el("b", {}, title), ` ${explanation}`),
      bars(order.map((m) => ({ value: values[m], label: text(m), address: `variable=${m}`, class: isChance(m) ? "faint" : "filled" })), {
        top, marks: marks && order.map((m) => array(marks)[m]),
        alternative: `${title} of ${counted(M, "variable")}, sorted: from ${text(order[0])} to ${text(order[M - 1])}`,
      }));
  };
  return [
    chart("Entropy", "in shares of log K.", variables.entropies, 1),
    chart("Bins used", `of ${K}.`, variables.binsUsed, K),
    chart("Agreement of two views:", "the thin line is how often two different images agree; pale bars are hardly above it, as those of collapsed variables.", variables.agreement, 1, variables.agreementByChance, (m) => agreementAboveChance(m) < 0.05, agreementAboveChance),
    labelled && chart("Label information:", "normalised mutual information with the label. The thin line is what shuffled labels give; pale bars are no more than chance.", variables.labels.information, niceTop(Math.max(...array(variables.labels.information))), variables.labels.byChance, (m) => !tellsLabel(m)),
  ].filter(Boolean);
}

// The end of a scale: the next of a few round numbers.
function niceTop(value) {
  return [0.05, 0.1, 0.25, 0.5, 1].find((top) => value <= top) || 1;
}

function skippedSection() {
  if (!data.skipped.length) return null;
  return section("Images that could not be read", `${counted(data.skipped.length, "image")} of the data set took no part.`,
    details("Names and reasons", el("ul", {}, data.skipped.slice(0, 1000).map(([name, reason]) => el("li", {}, el("b", {}, readable(name)), `: ${readable(reason)}`)))));
}
