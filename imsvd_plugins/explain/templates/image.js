// One image: its bins and how sure, its neighbours, and where the evidence lies.

const NEIGHBOURS = 8;

function imagePage(index) {
  if (!(index >= 0 && index < data.numImages)) return missing(`There is no image ${index}: they are numbered from 0 to ${data.numImages - 1}.`);
  const place = images.place(index);
  if (place === undefined) return missing(`Image ${index} is not on this page, which holds ${images.count.toLocaleString("en")} of ${data.numImages.toLocaleString("en")} images. Its numbers are in report.npz.`);
  const label = classAt(place);
  return [
    imagePager(place),
    el("h1", { tabindex: -1, class: "file-name" }, readable(images.names[place])),
    el("div", { class: "beside narrow" },
      el("figure", {}, picture(place, 160), el("figcaption", {}, `Image ${index}${label === null ? "" : `, class ${readable(label)}`}`)),
      el("div", {}, neighbourRows(index, place))),
    attributionSection(null, (each) => each.image === index, () => plainPicture(index)),
    variables ? imageBins(place) : null,
  ];
}

function imagePager(place) {
  const to = (other, text) => (other >= 0 && other < images.count ? el("a", { href: `#image=${images.indices[other]}` }, text) : el("span", {}));
  return el("p", { class: "pager" }, to(place - 1, "← previous image"), el("a", { href: "#images" }, "all images"), to(place + 1, "next image →"));
}

function knownNeighbours(packed, index) {
  const row = array(data.representation.neighboursImages).indexOf(index);
  if (row < 0 || !packed) return null;
  const [, count] = packed.shape;
  return Array.from(array(packed).slice(row * count, (row + 1) * count));
}

function sameBins(place, other) {
  const bins = array(variables.imageBins);
  let count = 0;
  for (let m = 0; m < M; m++) if (bins[place * M + m] === bins[other * M + m]) count++;
  return count;
}

function neighbourRows(index, place) {
  const rows = [];
  const caption = (neighbour) => {
    const other = images.place(neighbour);
    if (other === undefined) return null;
    return [classAt(other) === null ? null : readable(classAt(other)), variables && `${sameBins(place, other)} of ${M}`].filter(Boolean).join("\n");
  };
  const row = (title, explanation, neighbours) => rows.push(el("div", { class: "samples" }, el("h2", {}, title), el("p", { class: "explanation" }, explanation),
    el("ul", { class: "images" }, neighbours.slice(0, NEIGHBOURS).map((neighbour) => el("li", {}, thumbnail(neighbour, { caption: caption(neighbour), side: 64 }))))));
  const byFeatures = knownNeighbours(data.representation.neighboursByFeatures, index);
  if (variables) {
    const known = knownNeighbours(data.representation.neighboursByCode, index);
    const near = known || range(images.count).filter((other) => other !== place).map((other) => [sameBins(place, other), other]).sort((a, b) => b[0] - a[0]).slice(0, NEIGHBOURS).map(([, other]) => images.indices[other]);
    row("Nearest by code", `The images that fall into the same bin in most variables (of ${M}; the number stands below)${known || images.all ? "" : ", among those on this page"}.`, near);
  }
  if (byFeatures) row("Nearest by features", "The most similar backbone features (cosine).", byFeatures);
  else rows.push(el("p", { class: "explanation" }, "The report holds no neighbours by features for this image. ", el("a", { href: "#representation" }, "It does for these.")));
  return rows;
}

const IMAGE_ORDERS = [
  ["certainty", "the surest first", (place) => (a, b) => certaintyOf(place, b) - certaintyOf(place, a)],
  ["label", "label information", () => (a, b) => perVariable(variables.labels.information, b) - perVariable(variables.labels.information, a)],
  ["number", "number", () => (a, b) => a - b],
];
let imageOrder = "certainty";

function imageBins(place) {
  const body = el("tbody", {});
  function fill() {
    const [, , compare] = IMAGE_ORDERS.find(([key]) => key === imageOrder);
    body.replaceChildren(...range(M).sort(compare(place)).map((m) => {
      const k = binOf(place, m);
      return el("tr", {},
        el("th", { scope: "row" }, el("a", { href: `#variable=${m}&bin=${k}` }, `variable ${m}, bin ${k}`)),
        el("td", {}, levelBar(certaintyOf(place, m)), percent(certaintyOf(place, m))),
        el("td", {}, `${viewsInBin(place, m)} of 2`),
        el("td", {}, percent(perVariable(variables.agreement, m))),
        el("td", {}, perBin(variables.counts, m, k).toLocaleString("en")),
        labelled && el("td", {}, purityInWords(m, k) || "–"));
    }));
  }
  fill();
  const choice = el("select", { onchange: () => { imageOrder = choice.value; fill(); } }, IMAGE_ORDERS.filter(([key]) => key !== "label" || labelled).map(([key, title]) => el("option", { value: key, selected: key === imageOrder }, title)));
  const headers = ["bin", "how sure", "random views in it", "agreement", "images in the bin", labelled && "class (where more than chance)"].filter(Boolean);
  return section("Its bins", "The bin of each variable and its probability on the plain image; how many of this image's two random views fall into it too; agreement is how often two random views of an image fall into the same bin, over all images.",
    el("label", { class: "order" }, "Sort by ", choice),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the image's bins" }, el("table", { class: "variables" }, el("thead", {}, el("tr", {}, headers.map((title) => el("th", { scope: "col" }, title)))), body)));
}
