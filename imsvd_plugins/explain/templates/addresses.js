// What the address asks for, keys, and the switch between dark and light.

const main = document.getElementById("main");

function address() {
  const text = location.hash.replace(/^#/, "") || "overview";
  const parts = new Map(text.split("&").map((part) => {
    const [key, value] = part.split(/=(.*)/s);
    return [key, value === undefined ? null : value];
  }));
  return { text, parts, number: (key) => (/^\d+$/.test(parts.get(key) || "") ? Number(parts.get(key)) : parts.has(key) ? NaN : null) };
}

// A name that a hand-written address may spell in a broken way.
function decodedName(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function viewOf({ text, parts, number }) {
  if (parts.has("variable")) return variablePage(number("variable"), number("bin"));
  if (parts.has("variables")) return variableTable();
  if (parts.has("image")) return imagePage(number("image"));
  if (parts.has("images")) return imagesPage(decodedName(parts.get("images") || ""), number("class"));
  if (parts.has("representation")) return representationPage();
  if (parts.has("overview")) return overview();
  return missing(`This report has nothing at #${readable(text)}.`);
}

let before = null;

function show() {
  const started = performance.now();
  const asked = address();
  if (asked.parts.has("main")) return;
  hideTip();
  closeSearch();
  main.replaceChildren(...viewOf(asked).flat().filter(Boolean));
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · ${data.title}`;
  for (const link of document.querySelectorAll("nav a")) {
    const current = asked.parts.has(link.hash.slice(1)) || (link.hash === "#variables" && asked.parts.has("variable")) || (link.hash === "#images" && asked.parts.has("image"));
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const bin = document.getElementById("bin");
  if (bin) {
    bin.scrollIntoView();
    bin.focus({ preventScroll: true });
  } else {
    scrollTo(0, 0);
    if (before !== null) heading.focus({ preventScroll: true });
  }
  before = asked.text;
  const milliseconds = performance.now() - started;
  // Twice: the first frame is still to be drawn when the first call comes.
  requestAnimationFrame(() => requestAnimationFrame(() => {
    Object.assign(document.documentElement.dataset, { shown: asked.text, milliseconds: milliseconds.toFixed(1), drawn: performance.now().toFixed(1) });
  }));
}

function step(by, bins) {
  const { parts, number } = address();
  if (parts.has("variable") && variables) {
    const m = number("variable");
    if (bins) {
      const k = number("bin");
      const next = k === null ? 0 : k + by;
      if (next >= 0 && next < K) location.hash = `variable=${m}&bin=${next}`;
    } else if (m + by >= 0 && m + by < M) location.hash = `variable=${m + by}`;
  } else if (parts.has("image")) {
    const place = images.place(number("image")) + by;
    if (place >= 0 && place < images.count) location.hash = `image=${images.indices[place]}`;
  }
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, #search")) return;
    if (event.key === "/") {
      event.preventDefault();
      query.focus();
    } else if (event.key === "ArrowLeft") step(-1, event.shiftKey);
    else if (event.key === "ArrowRight") step(1, event.shiftKey);
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
}

function startTheme() {
  const button = document.getElementById("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (() => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  })();
  const isDark = () => (document.documentElement.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
  name();
  prefersDark.addEventListener("change", name);
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    name();
    // A browser may forbid pages from disk to remember anything.
    try {
      localStorage.setItem("theme", document.documentElement.dataset.theme);
    } catch { /* the choice lasts as long as the page */ }
  });
}

function start() {
  startTheme();
  startSearch();
  startKeys();
  addEventListener("hashchange", show);
  show();
}
