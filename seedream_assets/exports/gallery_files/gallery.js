/* The page: its state is the address's hash; everything else is drawn from that. */

const rows = new Rows(readData("rows"));
const search = document.getElementById("search");
const filters = document.getElementById("filters");
const filtersButton = document.getElementById("filters-button");
const grid = new Grid(document.getElementById("grid"), makeTile);
const details = new Details(rows, { move, leave });
let state = { query: "", chosen: new Map(), image: "" };
let found = [];
let drawnFor = null;

function makeTile(row) {
  const prompt = String(rows.cell("prompt", row) ?? "");
  const status = rows.cell("status", row);
  const tile = element("a", { className: "tile", href: hashOf({ ...state, image: rows.linkTo(row) }) });
  const frame = element("div", { className: "frame" });
  const thumbnail = thumbnailOf(rows, row);
  if (thumbnail) {
    const image = element("img", { alt: "", decoding: "async", draggable: false });
    image.addEventListener("error", () => image.isConnected && image.replaceWith(element("div", { className: "absent" }, "The thumbnail is missing")));
    image.src = thumbnail;
    frame.append(image);
  } else frame.append(absence(rows, row));
  if (rows.cell("rejected", row)) frame.append(element("span", { className: "badge" }, "rejected"));
  tile.append(frame, element("div", { className: "caption", dir: "auto" }, prompt.slice(0, 200)));
  if (status !== "stored") tile.setAttribute("aria-label", `${sentence(status, rows.cell("reason", row))}. ${prompt.slice(0, 200)}`);
  return tile;
}

/* state and address */

function hashOf({ query, chosen, image }) {
  const parameters = new URLSearchParams();
  if (query) parameters.set("q", query);
  for (const facet of rows.facets) {
    if (!chosen.has(facet.name)) {
      if (facet.first !== undefined) parameters.set(facet.name, "");
    } else if (chosen.get(facet.name) !== facet.first) parameters.set(facet.name, chosen.get(facet.name));
  }
  if (image) parameters.set("image", image);
  return `#${parameters}`;
}

function readHash() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const chosen = new Map();
  for (const facet of rows.facets) {
    const value = parameters.has(facet.name) ? parameters.get(facet.name) : facet.first;
    if (value && facet.values.includes(value)) chosen.set(facet.name, value);
  }
  return { query: parameters.get("q") ?? "", chosen, image: parameters.get("image") ?? "" };
}

function change(changes, push = false) {
  state = { ...state, ...changes };
  history[push ? "pushState" : "replaceState"](push ? { opened: true } : history.state, "", hashOf(state));
  draw();
}

function followAddress() {
  state = readHash();
  draw();
}

/* drawing */

function draw() {
  const wanted = JSON.stringify([state.query, [...state.chosen]]);
  if (wanted !== drawnFor) {
    const began = drawnFor !== null;
    drawnFor = wanted;
    const result = rows.find(state.query, state.chosen);
    found = result.found;
    drawFilters(result.counts);
    drawCount();
    if (search.value !== state.query) search.value = state.query;
    if (began && scrollY > 0) scrollTo(0, 0);
    grid.show(found);
  }
  drawDetails();
}

function drawCount() {
  const every = rows.length.toLocaleString("en");
  const some = found.length.toLocaleString("en");
  const word = rows.length === 1 ? "image" : "images";
  document.getElementById("count").textContent = found.length === rows.length ? `${every} ${word}` : `${some} of ${every} ${word}`;
  document.getElementById("nothing").hidden = found.length > 0;
  document.getElementById("clear").hidden = rows.length === 0;
  document.getElementById("nothing-text").textContent = rows.length === 0 ? "This dataset has no images yet." : "No image matches.";
}

function drawDetails() {
  const row = state.image ? rows.rowOf(state.image) : -1;
  if (row < 0) {
    details.close();
    return;
  }
  let place = found.indexOf(row);
  if (place < 0) {
    // A link to an image that its own filter hides: the filter gives way.
    change({ query: "", chosen: new Map() });
    return;
  }
  details.show(row, place, found.length);
}

function makeFilters() {
  for (const facet of rows.facets) {
    const select = element("select", { name: facet.name });
    select.append(element("option", { value: "" }));
    for (const value of facet.values) select.append(element("option", { value }));
    select.addEventListener("change", () => {
      const chosen = new Map(state.chosen);
      if (select.value) chosen.set(facet.name, select.value);
      else chosen.delete(facet.name);
      change({ chosen });
    });
    filters.append(element("label", {}, facet.label, select));
  }
  filtersButton.hidden = rows.facets.length === 0;
}

function drawFilters(counts) {
  rows.facets.forEach((facet, at) => {
    const select = filters.elements[at];
    const value = state.chosen.get(facet.name) ?? "";
    select.options[0].textContent = `any (${counts[at].any.toLocaleString("en")})`;
    facet.values.forEach((one, place) => {
      select.options[place + 1].textContent = `${one.replaceAll("_", " ")} (${counts[at].each[place].toLocaleString("en")})`;
    });
    select.value = value;
    select.classList.toggle("chosen", value !== (facet.first ?? ""));
  });
  const chosen = rows.facets.filter((facet) => (state.chosen.get(facet.name) ?? "") !== (facet.first ?? "")).length;
  filtersButton.textContent = chosen ? `Filters (${chosen})` : "Filters";
}

/* what a person does */

function move(step) {
  const place = found.indexOf(rows.rowOf(state.image)) + step;
  if (place >= 0 && place < found.length) change({ image: rows.linkTo(found[place]) });
}

function leave() {
  if (!state.image) return;
  const place = found.indexOf(rows.rowOf(state.image));
  state = { ...state, image: "" };
  if (history.state?.opened) history.back();
  else history.replaceState(null, "", hashOf(state));
  grid.focusOn(place);
}

document.getElementById("grid").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change({ image: rows.linkTo(found[Number(tile.dataset.place)]) }, true);
});
search.addEventListener("input", () => change({ query: search.value }));
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || (event.key === "Enter" && !event.isComposing)) {
    event.preventDefault();
    grid.focusOn(grid.active);
  } else if (event.key === "Escape") {
    event.preventDefault();
    if (search.value) {
      search.value = "";
      change({ query: "" });
    } else search.blur();
  }
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key !== "/" || typing || details.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
  search.select();
});
filters.addEventListener("submit", (event) => event.preventDefault());
filtersButton.addEventListener("click", () => {
  const open = filters.classList.toggle("open");
  filtersButton.setAttribute("aria-expanded", open);
});
document.getElementById("clear").addEventListener("click", () => {
  change({ query: "", chosen: new Map() });
  search.focus();
});
addEventListener("popstate", followAddress);
addEventListener("hashchange", followAddress);

document.getElementById("facts").textContent = rows.about.facts;
makeFilters();
followAddress();
