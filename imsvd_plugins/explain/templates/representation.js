// The representation of any method.

function representationPage() {
  return [
    el("h1", { tabindex: -1 }, "Representation"),
    el("p", { class: "lead" }, `The backbone's features as a whole, whatever the method. ${variables ? "" : `${data.method} has no variables with bins, so this is what can be seen of it.`}`),
    ...representationFigures(),
  ];
}

function representationFigures() {
  return [el("div", { class: "numbers" }, representationNumbers()), gramSection(), mapSection(), spectrumSection(), neighboursSection(), variables ? null : skippedSection()];
}

function representationNumbers() {
  const { rankme, alignment, uniformity, randomFeatureError, spectrum } = data.representation;
  const most = array(spectrum).length;
  const numbers = [
    figureOf("Effective rank (RankMe)", round(rankme, 1), `How many directions the features really use, of at most ${most}. 1: collapse. Drawn on a logarithmic scale.`, rankme && most > 1 ? Math.log(rankme) / Math.log(most) : null, ["collapse", "all equally"]),
    figureOf("Alignment", round(alignment), "Mean squared distance of two views of one image, 0 to 4. Low is good if uniformity is low too.", alignment === null ? null : 1 - alignment / 4, ["views far apart", "views alike"]),
    figureOf("Uniformity", round(uniformity), "How evenly the images spread over the sphere, about −4 to 0. Low is good; 0: all images at one point.", uniformity === null ? null : -uniformity / 4, ["collapse", "spread out"]),
  ];
  if (randomFeatureError !== null) numbers.push(figureOf("Random-feature error", percent(randomFeatureError), "How far the random features that the loss uses are from the exact kernel, relative. Low is good; more features lower it.", 1 - randomFeatureError, ["100 % or more", "exact"]));
  return numbers;
}

function gramSection() {
  const { groups, gram, similarity } = data.representation;
  const count = groups.length;
  if (!count) return null;
  const values = array(gram);
  const name = (index) => readable(groups[index]);
  const known = values.filter((value) => !Number.isNaN(value));
  const low = Math.min(...known);
  const high = Math.max(...known);
  const off = range(count * count).filter((at) => !Number.isNaN(values[at])).filter((at) => at % count !== Math.floor(at / count)).sort((a, b) => values[b] - values[a]).filter((at) => at % count < Math.floor(at / count));
  const within = (group) => `${name(group)} (${round(values[group * count + group])})`;
  const canvas = heatmap({
    rows: count, columns: count, scale: WHITE_VIOLET, className: "heatmap square",
    position: (row, column) => (values[row * count + column] - low) / (high - low || 1),
    alternative: `Mean ${readable(similarity)} of images by group, ${count} by ${count}`,
    describe: (row, column) => `${name(row)} and ${name(column)}: ${round(values[row * count + column], 3)}`,
  });
  const labels = count <= 24 ? el("ol", { class: "row-names", "aria-hidden": "true" }, groups.map((group) => el("li", { title: readable(group) }, readable(group)))) : null;
  const order = range(count).filter((group) => !Number.isNaN(values[group * count + group])).sort((a, b) => values[b * count + b] - values[a * count + a]);
  return section("Which groups are alike", `Mean similarity of two different images by their ${data.classes.length ? "classes" : "clusters"} (${readable(similarity)}). Columns have the order of the rows. Good: a dark diagonal, a group is more like itself than like others. All one shade: the groups are not told apart.`,
    el("div", { class: "beside" },
      el("figure", {}, el("div", { class: "named" }, labels, canvas), scaleBar(WHITE_VIOLET, `${round(low)} unlike`, null, `${round(high)} alike`)),
      el("div", {}, el("h3", {}, "Most alike of different groups"),
        el("ul", {}, off.slice(0, 8).map((at) => el("li", {}, `${name(at % count)} and ${name(Math.floor(at / count))}: ${round(values[at])}`))),
        order.length > 1 && el("p", { class: "explanation" }, `Most alike within: ${within(order[0])}; least: ${within(order[order.length - 1])}.`))));
}

function spectrumSection() {
  const values = array(data.representation.spectrum);
  if (!values.length) return null;
  return section("Spectrum of the features", "Singular values, from the greatest to the smallest, on a logarithmic scale. Good: falls slowly. Collapse: drops steeply after a few.",
    spectrumChart(values, `${values.length} singular values, falling from ${values[0].toPrecision(3)} to ${values[values.length - 1].toPrecision(3)}`));
}

function mapSection() {
  const { map, mapImages, mapLabels } = data.representation;
  const coordinates = array(map);
  const indices = array(mapImages);
  if (!indices.length) return null;
  const labels = array(mapLabels);
  const points = Array.from(indices, (index, at) => {
    const label = labels ? labels[at] : null;
    const place = images.place(index);
    const parts = [place === undefined ? `image ${index}` : readable(images.names[place]), label === null ? null : classOf(label)];
    return { x: coordinates[2 * at], y: coordinates[2 * at + 1], index, colour: labels ? classColour(label) : COLOURS[0], label: parts.filter(Boolean).join(", ") };
  });
  const present = labels ? [...new Set(labels)].filter((label) => label >= 0).sort((a, b) => a - b) : [];
  return section("Map of the images", `${counted(points.length, "image")}, by the first two principal components of their features. Images that are alike are near to each other; with two dimensions of many, not all that are near are alike. Point at one to see it, click to open it.`,
    scatter(points, `Map of ${counted(points.length, "image")} in two dimensions${present.length ? `, coloured by ${present.length} classes` : ""}`), classLegend(present));
}

function neighboursSection() {
  const { neighboursImages, neighboursByFeatures } = data.representation;
  const known = Array.from(array(neighboursImages)).filter((index) => images.place(index) !== undefined);
  if (!known.length) return null;
  const same = (index, neighbours) => {
    const labels = neighbours.map((other) => images.place(other)).filter((other) => other !== undefined).map((other) => images.labels[other]);
    return `${labels.filter((label) => label === images.labels[images.place(index)]).length} of ${labels.length} of its class`;
  };
  let limit = 12;
  const list = el("div", {});
  function fill() {
    list.replaceChildren(el("ol", { class: "bins" }, known.slice(0, limit).map((index) => {
      const neighbours = knownNeighbours(neighboursByFeatures, index).slice(0, NEIGHBOURS);
      return el("li", { class: "strip" }, el("span", { class: "bin-name" }, thumbnail(index, { side: 56 }), images.labels && el("small", {}, same(index, neighbours))),
        el("ul", { class: "images" }, neighbours.map((other) => el("li", {}, thumbnail(other, { side: 44 })))));
    })), known.length > limit ? el("button", { type: "button", onclick: () => { limit += 24; fill(); } }, `Show more of ${known.length}`) : "");
  }
  fill();
  return section("Nearest neighbours by features", "An image (left) and the images with the most similar features, the nearest first. Good: they show the same thing, not only the same colours.", list);
}
