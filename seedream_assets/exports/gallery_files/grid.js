/* The grid: only the rows of tiles that are in sight, and the one with the focus, are in the document. */

class Grid {
  constructor(root, makeTile) {
    this.root = root;
    this.makeTile = makeTile;
    this.items = [];
    this.drawn = new Map(); // line number → element
    this.active = 0; // the place that Tab leads to
    this.columns = 1;
    this.lineHeight = 1;
    let due = false;
    const later = () => {
      if (due) return;
      due = true;
      requestAnimationFrame(() => {
        due = false;
        this.draw();
      });
    };
    addEventListener("scroll", later, { passive: true });
    new ResizeObserver(() => this.measure()).observe(root);
    root.addEventListener("keydown", (event) => this.onKey(event));
    root.addEventListener("focusin", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) this.activate(Number(tile.dataset.place));
    });
  }

  show(items) {
    this.items = items;
    this.active = 0;
    this.clear();
    this.measure(true);
  }

  measure(always) {
    const width = this.root.clientWidth;
    if (!width || (!always && width === this.width)) return;
    const top = this.firstInSight();
    const moved = this.width !== undefined && width !== this.width && scrollY > 0;
    const gap = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gap"));
    this.width = width;
    this.columns = Math.max(2, Math.floor((width + gap) / (184 + gap)));
    this.lineHeight = Math.floor((width - gap * (this.columns - 1)) / this.columns) + 40 + gap + 4;
    this.lines = Math.ceil(this.items.length / this.columns);
    this.root.style.setProperty("--columns", this.columns);
    this.root.style.height = `${this.lines * this.lineHeight}px`;
    this.root.setAttribute("aria-rowcount", this.lines);
    this.root.setAttribute("aria-colcount", this.columns);
    this.clear();
    if (moved) this.reveal(top, true);
    this.draw();
  }

  clear() {
    const focused = this.root.contains(document.activeElement);
    for (const line of this.drawn.keys()) this.erase(line);
    this.refocus = focused;
  }

  erase(line) {
    const element = this.drawn.get(line);
    // What is still loading for a tile that is out of sight would hold up what is in sight.
    for (const image of element.querySelectorAll("img")) if (!image.complete) image.removeAttribute("src");
    element.remove();
    this.drawn.delete(line);
  }

  draw() {
    const above = scrollY - this.top();
    const first = Math.max(0, Math.floor(above / this.lineHeight) - 2);
    const last = Math.min(this.lines - 1, Math.ceil((above + innerHeight) / this.lineHeight) + 2);
    const kept = Math.floor(this.active / this.columns);
    const holdsFocus = this.drawn.get(kept)?.contains(document.activeElement);
    for (const line of [...this.drawn.keys()]) {
      if ((line < first || line > last) && !(line === kept && holdsFocus)) this.erase(line);
    }
    for (let line = first; line <= last; line++) if (!this.drawn.has(line)) this.drawLine(line);
    if (this.refocus) {
      this.refocus = false;
      this.tileAt(this.active)?.focus({ preventScroll: true });
    }
  }

  drawLine(line) {
    const element = document.createElement("div");
    element.className = "row";
    element.setAttribute("role", "row");
    element.setAttribute("aria-rowindex", line + 1);
    element.style.transform = `translateY(${line * this.lineHeight}px)`;
    const end = Math.min(this.items.length, (line + 1) * this.columns);
    for (let place = line * this.columns; place < end; place++) {
      const cell = document.createElement("div");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", (place % this.columns) + 1);
      const tile = this.makeTile(this.items[place]);
      tile.dataset.place = place;
      tile.tabIndex = place === this.active ? 0 : -1;
      cell.append(tile);
      element.append(cell);
    }
    this.drawn.set(line, element);
    // In reading order, whichever way the page was scrolled.
    const after = [...this.root.children].find((other) => Number(other.getAttribute("aria-rowindex")) > line + 1);
    this.root.insertBefore(element, after || null);
  }

  tileAt(place) {
    return this.root.querySelector(`.tile[data-place="${place}"]`);
  }

  activate(place) {
    if (place === this.active) return;
    const before = this.tileAt(this.active);
    if (before) before.tabIndex = -1;
    this.active = place;
    const tile = this.tileAt(place);
    if (tile) tile.tabIndex = 0;
  }

  top() {
    return this.root.getBoundingClientRect().top + scrollY;
  }

  headHeight() {
    return document.getElementById("head").offsetHeight;
  }

  /** The first place of the first line of which a good part can be seen. */
  firstInSight() {
    const hidden = (scrollY + this.headHeight() - this.top()) / this.lineHeight;
    return Math.max(0, Math.floor(hidden + 0.4)) * this.columns;
  }

  /** Scroll as little as makes a tile wholly visible below the header, or, to the top, as far as it goes. */
  reveal(place, toTop) {
    const above = this.top() + Math.floor(place / this.columns) * this.lineHeight - this.headHeight() - 8;
    const below = above + this.headHeight() + 8 + this.lineHeight - innerHeight;
    if (toTop || scrollY > above) scrollTo(0, above);
    else if (scrollY < below) scrollTo(0, below);
  }

  focusOn(place) {
    if (place < 0 || place >= this.items.length) return;
    this.activate(place);
    this.reveal(place);
    this.draw();
    this.tileAt(place)?.focus({ preventScroll: true });
  }

  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.closest(".tile")) return;
    const screen = Math.max(1, Math.floor((innerHeight - this.headHeight()) / this.lineHeight)) * this.columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
      PageUp: -screen, PageDown: screen, Home: -this.active, End: this.items.length - 1 - this.active,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const last = this.items.length - 1;
    let place = this.active + steps[event.key];
    // One line up from the first, or down from the last, is no move; a screen further is a move to the end.
    if (event.key === "ArrowUp" && place < 0) return;
    if (event.key === "ArrowDown" && place > last && Math.floor(this.active / this.columns) === this.lines - 1) return;
    place = Math.min(last, Math.max(0, place));
    this.focusOn(place);
  }
}
