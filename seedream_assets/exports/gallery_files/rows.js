/* The rows: read from the page once, then searched and filtered by number. Touches the document only to read its data. */

class Rows {
  constructor(packed) {
    this.about = packed.about;
    this.facets = packed.facets; // {name, label, values, of}: `of` holds a value's place, several of them, or -1
    this.columns = packed.columns; // {name: {values, of}} where values repeat, else {name: {cells}}
    this.length = packed.about.rows;
    this.texts = null;
    this.places = null;
  }

  cell(name, row) {
    return cellOf(this.columns, name, row);
  }

  /** The row of a deep link: an image's id, with ".2" where it is the id's second row, and so on; -1 when there is none. */
  rowOf(link) {
    if (!this.places) {
      this.places = new Map();
      this.links = [];
      const seen = new Map();
      for (let row = 0; row < this.length; row++) {
        const id = this.cell("image_id", row);
        const times = (seen.get(id) || 0) + 1;
        seen.set(id, times);
        this.links[row] = times === 1 ? id : `${id}.${times}`;
        this.places.set(this.links[row], row);
      }
    }
    return this.places.has(link) ? this.places.get(link) : -1;
  }

  linkTo(row) {
    this.rowOf("");
    return this.links[row];
  }

  /** Rows that hold every word and every chosen value, and for each facet how many rows each of its values would show. */
  find(query, chosen) {
    const words = searchable(query).split(/\s+/).filter(Boolean);
    const holds = this.promptsWith(words);
    const wanted = this.facets.map((facet) => (chosen.has(facet.name) ? facet.values.indexOf(chosen.get(facet.name)) : null));
    const counts = this.facets.map((facet) => ({ any: 0, each: new Uint32Array(facet.values.length) }));
    const found = [];
    for (let row = 0; row < this.length; row++) {
      if (holds && !holds(row)) continue;
      let misses = 0;
      let missed = -1;
      for (let at = 0; at < wanted.length && misses < 2; at++) {
        if (wanted[at] !== null && !isAt(this.facets[at].of[row], wanted[at])) {
          misses++;
          missed = at;
        }
      }
      if (misses === 0) found.push(row);
      if (misses > 1) continue;
      for (let at = 0; at < counts.length; at++) {
        if (misses === 1 && at !== missed) continue;
        counts[at].any++;
        const held = this.facets[at].of[row];
        if (Array.isArray(held)) for (const one of held) counts[at].each[one]++;
        else if (held >= 0) counts[at].each[held]++;
      }
    }
    return { found, counts };
  }

  /** null where there is no word; else a question to ask of each row. A long word is also looked for in the ids. */
  promptsWith(words) {
    if (words.length === 0) return null;
    const { values, of } = this.columns.prompt;
    if (!this.texts) this.texts = values.map(searchable);
    const matches = this.texts.map((text) => words.every((word) => text.includes(word)));
    const id = words.length === 1 && words[0].length >= 4 ? words[0] : null;
    const ids = ["image_id", "prompt_id"];
    return (row) =>
      matches[of[row]] ||
      (id !== null && ids.some((name) => String(this.cell(name, row) ?? "").toLowerCase().startsWith(id)));
  }
}

function cellOf(columns, name, row) {
  const column = columns[name];
  if (!column) return null;
  if (column.cells) return column.cells[row];
  return column.of[row] < 0 ? null : column.values[column.of[row]];
}

function isAt(held, place) {
  return Array.isArray(held) ? held.includes(place) : held === place;
}

/** Lower case, compatibility forms and Latin accents folded: "Café" is found by "cafe". */
function searchable(text) {
  return String(text).normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
}

function readData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}
