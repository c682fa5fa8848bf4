// One variable: its bins, its relatives, its images.

function variablePage(m, chosen) {
  if (!variables) return noVariables();
  if (!(m >= 0 && m < M)) return missing(`There is no variable ${m}: they are numbered from 0 to ${M - 1}.`);
  if (chosen !== null && !(chosen >= 0 && chosen < K)) return missing(`Variable ${m} has no bin ${chosen}: they are numbered from 0 to ${K - 1}.`);
  const members = membersOfAll(m);
  return [
    pager("variable", m, M),
    el("h1", { tabindex: -1 }, `Variable ${m}`),
    el("div", { class: "numbers" }, variableNumbers(m)),
    marginalSection(m, chosen),
    chosen === null ? null : binSection(m, chosen, members[chosen]),
    binsSection(m, chosen, members),
    attributionSection(chosen === null ? `The report has computed it for these images and bins of variable ${m}.` : `The report has computed it for these images of bin ${chosen}.`, (each) => each.variable === m && (chosen === null || each.bin === chosen)),
    relatedSection(m),
  ];
}

function pager(kind, index, count) {
  return el("p", { class: "pager" },
    index > 0 ? el("a", { href: `#${kind}=${index - 1}`, rel: "prev" }, `← ${kind} ${index - 1}`) : el("span", {}),
    el("a", { href: "#variables" }, "all variables"),
    index + 1 < count ? el("a", { href: `#${kind}=${index + 1}`, rel: "next" }, `${kind} ${index + 1} →`) : el("span", {}));
}

function missing(text) {
  return [el("h1", { tabindex: -1 }, "Nothing here"), el("p", {}, text), el("p", {}, el("a", { href: "#overview" }, "To the overview"))];
}

function variableNumbers(m) {
  const entropy = perVariable(variables.entropies, m);
  const used = perVariable(variables.binsUsed, m);
  const numbers = [
    figureOf("Entropy", round(entropy, 3), "How evenly it uses its bins. 1: all equally often. 0: always the same one.", entropy),
    figureOf("Bins used", `${used} of ${K}`, "Bins that at least one image falls into.", K > 1 ? (used - 1) / (K - 1) : null),
    figureOf("Agreement", percent(perVariable(variables.agreement, m)), `How often two random views of one image fall into the same bin; two different images do in ${percent(perVariable(variables.agreementByChance, m))}.`, agreementAboveChance(m), ["chance", "always"]),
  ];
  if (M > 1) numbers.push(figureOf("Shares most with", el("a", { href: `#variable=${closestTo(m)}` }, `variable ${closestTo(m)}`), `Normalised mutual information ${round(shared(m, closestTo(m)), 3)}. 0: nothing in common. ${round(sharedWithItself(m), 3)}: the same; that much it shares with its own second view.${chanceOfSharing}`, sharedWithItself(m) > 0.01 ? 1 - sharedPart(m, closestTo(m)) : null, ["the same", "independent"]));
  if (labelled) {
    const information = perVariable(variables.labels.information, m);
    const p = probability(perVariable(variables.labels.pValue, m));
    numbers.push(figureOf("Label information", round(information, 3), tellsLabel(m)
      ? `Normalised mutual information with the label; shuffled labels give ${round(perVariable(variables.labels.byChance, m), 3)} (${p}, corrected for ${counted(M, "variable")}).`
      : `No more than chance: shuffled labels give ${round(perVariable(variables.labels.byChance, m), 3)} (${p}, corrected for ${counted(M, "variable")}).`, information, ["nothing", "everything"]));
  }
  return numbers;
}

function marginalSection(m, chosen) {
  const marginal = range(K).map((k) => perBin(variables.marginals, m, k));
  const majority = (k) => (labelled && perBin(variables.labels.purityPValue, m, k) < SIGNIFICANT ? perBin(variables.labels.majority, m, k) : null);
  const top = Math.max(...marginal, 1 / K);
  const present = [...new Set(range(K).map(majority).filter((label) => label !== null && label >= 0))].sort((a, b) => a - b);
  const describe = (k) => [`bin ${k}: ${percent(marginal[k])} of the images`, purityInWords(m, k)].filter(Boolean).join(", ");
  return section("How often each bin occurs",
    `One bar a bin, mean probability over all images; a click opens the bin. The thin line is what equal use would give (1 / ${K}).${labelled ? " A bar has its most frequent class's colour where that class is more frequent than by chance, and is grey elsewhere." : ""}`,
    bars(range(K).map((k) => ({
      value: marginal[k], label: describe(k), address: `variable=${m}&bin=${k}`, ...(labelled ? { class: "coloured", colour: classColour(majority(k)) } : {}),
    })), { top, marks: range(K).map(() => 1 / K), selected: chosen, alternative: `Marginal of variable ${m}: the most frequent bin has ${percent(Math.max(...marginal))}, the least frequent ${percent(Math.min(...marginal))}` }),
    classLegend(present));
}

function relatedSection(m) {
  const related = array(variables.related);
  const per = related.length / M;
  const blocks = array(variables.blocks);
  const cells = Math.sqrt(blocks.length / related.length);
  const shown = range(per).map((at) => {
    const other = related[m * per + at];
    const start = (m * per + at) * cells * cells;
    const bin = (cell) => Math.floor(cell * (K / cells));
    const name = other === m ? "itself" : `variable ${other}`;
    return el("figure", { class: "block" },
      el("figcaption", {}, "with ", other === m ? el("b", {}, "itself") : el("a", { href: `#variable=${other}` }, name), ` · shared ${round(shared(m, other), 3)}`),
      heatmap({
        rows: cells, columns: cells, scale: RED_BLUE, className: "heatmap square",
        position: (row, column) => blocks[start + row * cells + column] / 254,
        describe: (row, column) => `bin ${bin(row)}, and bin ${bin(column)} of ${name}: ${times(blocks[start + row * cells + column], cells)}`,
        alternative: `Joint distribution of variable ${m} with ${name}; normalised mutual information ${round(shared(m, other), 3)}`,
      }));
  });
  return section("Which variables share its information",
    `Its joint distribution with itself and with the ${per - 1} variables that share most. First view in rows, second in columns. With itself, a red diagonal is good: both views fall into one bin. With others, white is good.`,
    el("div", { class: "blocks" }, shown), jointScaleBar(cells));
}
