// The images of bins.

const BIN_ORDERS = [
  ["number", "number", (m) => (a, b) => a - b],
  ["agreement", "agreement of two views", (m) => (a, b) => (perBin(variables.binAgreement, m, b) || 0) - (perBin(variables.binAgreement, m, a) || 0)],
  ["size", "number of images", (m) => (a, b) => perBin(variables.counts, m, b) - perBin(variables.counts, m, a)],
  ["purity", "purity", (m) => (a, b) => (perBin(variables.labels.purity, m, b) || 0) - (perBin(variables.labels.purity, m, a) || 0)],
];
let binOrder = "number";

const sureness = (m) => (place) => percent(certaintyOf(place, m));

function binSection(m, k, members) {
  const count = perBin(variables.counts, m, k);
  const shownOf = images.all ? "" : ` This page shows ${members.length} of them.`;
  const heading = el("h2", { id: "bin", tabindex: -1 }, `Bin ${k} of variable ${m}`);
  const around = el("p", { class: "pager" },
    k > 0 ? el("a", { href: `#variable=${m}&bin=${k - 1}` }, `← bin ${k - 1}`) : el("span", {}),
    el("a", { href: `#variable=${m}` }, "close"),
    k + 1 < K ? el("a", { href: `#variable=${m}&bin=${k + 1}` }, `bin ${k + 1} →`) : el("span", {}));
  const summary = [
    el("p", {}, `${counted(count, "image")} of ${data.numImages.toLocaleString("en")} ${count === 1 ? "is" : "are"} in this bin.${shownOf} ${binAgreement(m, k)}`),
    binClasses(m, k),
  ];
  if (!members.length) return el("section", { class: "bin" }, heading, around, summary);
  const strip = (title, explanation, places, kind) => el("div", { class: "samples", "data-sample": kind }, el("h3", {}, title), el("p", { class: "explanation" }, explanation), imagesOf(places, sureness(m), 64));
  return el("section", { class: "bin" }, heading, around, summary,
    strip("The surest", "The best that the bin has to show. The number is the probability of this bin.", members.slice(0, 16), "surest"),
    strip("At random", "What the bin holds as a rule.", atRandom(members, 16), "random"),
    strip("From the surest to the least sure", "Equal steps through all images of the bin, sorted by certainty. Where do they stop to look alike?", acrossCertainty(members, m, 16), "quantiles"));
}

function binAgreement(m, k) {
  const agreement = perBin(variables.binAgreement, m, k);
  if (Number.isNaN(agreement)) return "No random view falls into it.";
  return `Invariance: where one random view of an image falls into this bin, the other one does in ${percent(agreement)} of the cases; by chance it would in ${percent(perBin(variables.binAgreementByChance, m, k))}.`;
}

function binClasses(m, k) {
  if (!labelled || !(perBin(variables.labels.purity, m, k) >= 0)) return null;
  return [el("ul", { class: "composition", "aria-label": "Most frequent classes" }, classesOf(m, k).map(([label, share]) => {
    const bar = levelBar(share);
    bar.firstChild.style.background = classColour(label);
    return el("li", {}, bar, `class ${readable(classOf(label))}: ${percent(share)}`);
  })), el("p", { class: "explanation" }, binPurity(m, k))];
}

function binPurity(m, k) {
  if (!labelled || !(perBin(variables.labels.purity, m, k) >= 0)) return "";
  const name = readable(classOf(perBin(variables.labels.majority, m, k)));
  const share = percent(perBin(variables.labels.purity, m, k));
  const p = probability(perBin(variables.labels.purityPValue, m, k));
  return perBin(variables.labels.purityPValue, m, k) < SIGNIFICANT
    ? `Its most frequent class is ${name}, with ${share} of the images: more than by chance (${p}, corrected for all bins).`
    : `Its most frequent class is ${name}, with ${share} of the images: no more than a bin of this size has by chance (${p}, corrected for all bins).`;
}

function binsSection(m, chosen, members) {
  const list = el("ol", { class: "bins" });
  const empty = members.filter((places, k) => !perBin(variables.counts, m, k)).length;
  function fill() {
    const [, , compare] = BIN_ORDERS.find(([key]) => key === binOrder);
    const used = range(K).filter((k) => perBin(variables.counts, m, k)).sort(compare(m));
    list.replaceChildren(...used.map((k) => el("li", { class: "strip" },
      el("a", { href: `#variable=${m}&bin=${k}`, class: "bin-name", "aria-current": k === chosen ? "true" : null }, `bin ${k}`,
        el("small", {}, counted(perBin(variables.counts, m, k), "image")),
        perBin(variables.binAgreement, m, k) >= 0 && el("small", {}, `views agree ${percent(perBin(variables.binAgreement, m, k))}`),
        labelled && el("small", {}, purityInWords(m, k))),
      imagesOf(acrossCertainty(members[k], m, 8), () => null, 44))));
  }
  fill();
  const orders = BIN_ORDERS.filter(([key]) => key !== "purity" || labelled);
  const choice = el("select", { onchange: () => { binOrder = choice.value; fill(); } }, orders.map(([key, title]) => el("option", { value: key, selected: key === binOrder }, title)));
  return section("What each bin holds", `From the surest image of the bin (left) to the least sure (right). A bin means something if the whole strip looks alike.${labelled ? " A class is named where it is more frequent than by chance." : ""}${empty ? ` ${counted(empty, "bin")} without images ${empty === 1 ? "is" : "are"} left out.` : ""}`,
    el("label", { class: "order" }, "Sort bins by ", choice), list);
}
