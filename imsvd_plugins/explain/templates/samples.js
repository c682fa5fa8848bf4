// Which of the page's images stand for a bin.

// Places of the shown images by bin, the surest first.
function membersOfAll(m) {
  const bins = range(K).map(() => []);
  for (let place = 0; place < images.count; place++) bins[binOf(place, m)].push(place);
  for (const members of bins) members.sort((a, b) => quantileOf(a, m) - quantileOf(b, m) || certaintyOf(b, m) - certaintyOf(a, m));
  return bins;
}

// From the surest to the least sure in equal steps of rank among all images of the bin.
function acrossCertainty(members, m, count) {
  if (members.length <= count) return members;
  const left = members.slice();
  return range(count).map((step) => {
    const wanted = step / (count - 1);
    let best = 0;
    left.forEach((place, at) => {
      if (Math.abs(quantileOf(place, m) - wanted) < Math.abs(quantileOf(left[best], m) - wanted)) best = at;
    });
    return left.splice(best, 1)[0];
  }).sort((a, b) => quantileOf(a, m) - quantileOf(b, m));
}

// The same images at each visit: the order of a scrambled index.
function atRandom(members, count) {
  const usual = members.filter((place) => images.uniform[place]);
  const scrambled = (place) => Math.imul(images.indices[place] + 1, 2654435761) >>> 0;
  return (usual.length ? usual : members).slice().sort((a, b) => scrambled(a) - scrambled(b)).slice(0, count);
}

function imagesOf(places, captionOf, side) {
  return el("ul", { class: "images" }, places.map((place) => el("li", {}, thumbnail(images.indices[place], { caption: captionOf(place), side }))));
}
