// The images that the page holds, to filter by name and class.

const GALLERY_STEP = 240;

function imagesPage(query, label = null) {
  let limit = GALLERY_STEP;
  const gallery = el("div", {});
  const found = el("p", { role: "status", class: "explanation" });
  const name = el("input", { type: "search", value: query || "", placeholder: "part of a name", id: "image-filter", oninput: () => { limit = GALLERY_STEP; fill(); } });
  const present = images.labels ? [...new Set(images.labels)].sort((a, b) => a - b).filter((label) => label >= 0) : [];
  const chosen = el("select", { onchange: () => { limit = GALLERY_STEP; fill(); } }, el("option", { value: "" }, "all classes"), present.map((each) => el("option", { value: each, selected: each === label }, readable(classOf(each)))));
  function fill() {
    const places = placesNamed(name.value).filter((place) => chosen.value === "" || images.labels[place] === Number(chosen.value));
    found.textContent = `${places.length.toLocaleString("en")} of ${counted(images.count, "image")}${images.all ? "" : ` on this page; the data set has ${data.numImages.toLocaleString("en")}, and report.npz holds the numbers of all`}`;
    gallery.replaceChildren(imagesOf(places.slice(0, limit), (place) => classAt(place) === null ? readable(images.names[place]) : readable(classAt(place)), 64),
      places.length > limit ? el("button", { type: "button", onclick: () => { limit += GALLERY_STEP; fill(); } }, `Show ${Math.min(GALLERY_STEP, places.length - limit)} more`) : "");
  }
  fill();
  return [
    el("h1", { tabindex: -1 }, "Images"),
    el("p", { class: "lead" }, "A click opens an image: its bins, its neighbours, and for some where the evidence lies."),
    attributedImages(),
    el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() }, el("label", {}, "Name contains ", name), present.length > 0 && el("label", {}, "Class ", chosen)),
    found, gallery,
  ];
}

function placesNamed(text) {
  const wanted = text.trim().toLowerCase();
  return range(images.count).filter((place) => !wanted || images.names[place].toLowerCase().includes(wanted) || readable(images.names[place]).toLowerCase().includes(wanted));
}

function attributedImages() {
  const indices = [...new Set(data.attributions.map((each) => each.image))];
  if (!indices.length) return null;
  return section("With heat maps of the evidence", `For ${counted(indices.length, "image")} the report has computed where in the image the evidence for a bin lies.`,
    el("ul", { class: "images" }, indices.slice(0, 64).map((index) => el("li", {}, thumbnail(index, { side: 64 })))));
}
