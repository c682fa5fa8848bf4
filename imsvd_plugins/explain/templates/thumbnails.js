// Thumbnails out of the sheets. A sheet is decoded when one of its images is first shown.

const sheetAddresses = [];

function sheetAddress(sheet) {
  if (!sheetAddresses[sheet]) {
    const content = bytes(document.getElementById(`sheet-${sheet}`).textContent);
    sheetAddresses[sheet] = URL.createObjectURL(new Blob([content], { type: "image/webp" }));
  }
  return sheetAddresses[sheet];
}

function picture(place, side) {
  const { columns, perSheet } = data.sprites;
  const sheet = Math.floor(place / perSheet);
  const inSheet = place % perSheet;
  const rows = Math.ceil(Math.min(perSheet, images.count - sheet * perSheet) / columns);
  const label = classAt(place);
  const element = el("span", {
    class: data.sprites.side < side ? "picture enlarged" : "picture",
    role: "img",
    "aria-label": `image ${readable(images.names[place])}${label === null ? "" : `, ${readable(label)}`}`,
  });
  element.style.width = element.style.height = `${side}px`;
  element.style.backgroundImage = `url(${sheetAddress(sheet)})`;
  element.style.backgroundSize = `${columns * side}px ${rows * side}px`;
  element.style.backgroundPosition = `${-(inSheet % columns) * side}px ${-Math.floor(inSheet / columns) * side}px`;
  return element;
}

// An image by its index, linked to its page; a grey tile if the page does not hold it.
function thumbnail(index, { caption = null, side = 56 } = {}) {
  const place = images.place(index);
  const shown = place === undefined ? el("span", { class: "picture missing" }, `#${index}`) : picture(place, side);
  if (place === undefined) shown.style.width = shown.style.height = `${side}px`;
  const title = place === undefined ? `image ${index}, without a thumbnail on this page` : readable(images.names[place]);
  return el("a", { class: "thumbnail", href: `#image=${index}`, title }, shown, caption !== null && el("small", {}, caption));
}
