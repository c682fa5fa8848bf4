// Where in an image the evidence for a bin lies.

const FIRST_HEATS = 12;

function attributionSection(which, isWanted, first = null) {
  const known = data.attributions.filter(isWanted);
  if (!known.length && (first === null || !data.attributions.length)) return null;
  if (!known.length) return section("Where the evidence lies", null, el("p", { class: "explanation" }, "The report has computed no heat maps for this image. ", el("a", { href: "#images" }, "It has for these.")));
  const explanation = "Red: what speaks for the bin. Blue: what speaks against it (Grad-CAM shows only what speaks for it, on the coarse grid of the network's last layer). Heat on the object is good; heat on the background or a corner tells of a shortcut.";
  const blocks = (shown, before) => el("div", { class: "blocks" }, before && before(), shown.map((each) => attributionFigure(each, first === null)));
  return section("Where the evidence lies", which ? `${which} ${explanation}` : explanation, blocks(known.slice(0, FIRST_HEATS), first),
    known.length > FIRST_HEATS && details(`${known.length - FIRST_HEATS} more`, blocks(known.slice(FIRST_HEATS), null)));
}

function plainPicture(index) {
  return el("figure", { class: "block" }, el("figcaption", {}, "the image"), sourcePicture(index));
}

function sourcePicture(index) {
  return el("img", { src: `data:image/webp;base64,${data.pictures[index]}`, alt: `image ${index}`, class: "source" });
}

function attributionFigure(attribution, linked) {
  const [rows, columns] = attribution.heat.shape;
  const heat = array(attribution.heat);
  const canvas = el("canvas", { width: columns, height: rows, class: "heat", role: "img", "aria-label": `${attribution.method} for bin ${attribution.bin} of variable ${attribution.variable}: ${whereStrongest(heat, rows, columns)}` });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  heat.forEach((value, at) => {
    const strength = Math.abs(value) / 127;
    pixels.data.set([value > 0 ? 214 : 33, value > 0 ? 24 : 102, value > 0 ? 43 : 200, Math.round(175 * Math.sqrt(strength) * (strength > 0.04))], 4 * at);
  });
  context.putImageData(pixels, 0, 0);
  const exact = attribution.completeness === null ? null : el("small", {}, attribution.completeness > 1
    ? "The network's output hardly changes here, and the heat does not sum up to its change."
    : `The heat sums up to the change of the network's output within ${percent(attribution.completeness)}.`);
  return el("figure", { class: "block" },
    el("figcaption", {}, linked
      ? el("a", { href: `#image=${attribution.image}` }, `image ${attribution.image}, bin ${attribution.bin}`)
      : el("a", { href: `#variable=${attribution.variable}&bin=${attribution.bin}` }, `variable ${attribution.variable}, bin ${attribution.bin}`), ` · ${attribution.method}`),
    el("div", { class: "overlay" }, sourcePicture(attribution.image), canvas), exact);
}

// For those who do not see the picture.
function whereStrongest(heat, rows, columns) {
  let sum = 0, down = 0, right = 0;
  heat.forEach((value, at) => {
    if (value <= 0) return;
    sum += value;
    down += value * Math.floor(at / columns);
    right += value * (at % columns);
  });
  if (!sum) return "no evidence for the bin";
  const third = (value, count, names) => names[Math.min(2, Math.floor((3 * value) / sum / count))];
  return `the evidence centres on the ${third(down, rows, ["upper", "middle", "lower"])} ${third(right, columns, ["left", "centre", "right"])}`;
}
