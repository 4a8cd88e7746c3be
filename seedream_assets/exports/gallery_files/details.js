/* One image and its lineage, in a dialog. Every text is set as text: nothing from a prompt table is ever read as HTML. */

class Details {
  constructor(rows, { move, leave }) {
    this.rows = rows;
    this.lineage = null;
    this.dialog = document.getElementById("details");
    this.picture = document.getElementById("picture");
    this.text = document.getElementById("lineage");
    document.getElementById("previous").addEventListener("click", () => move(-1));
    document.getElementById("next").addEventListener("click", () => move(1));
    document.getElementById("close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      document.body.classList.remove("covered");
      leave();
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.key === "ArrowLeft") move(-1);
      if (event.key === "ArrowRight") move(1);
    });
    this.listenForSwipes(move);
  }

  get isOpen() {
    return this.dialog.open;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  show(row, place, places) {
    this.row = row;
    const title = document.getElementById("details-title");
    title.textContent = `${(place + 1).toLocaleString("en")} of ${places.toLocaleString("en")}`;
    document.getElementById("previous").disabled = place <= 0;
    document.getElementById("next").disabled = place >= places - 1;
    this.showPicture(row);
    this.showLineage(row);
    if (!this.dialog.open) {
      document.body.classList.add("covered");
      this.dialog.showModal();
    }
    // A button that has just been disabled has lost the focus, and the keys with it.
    if (!this.dialog.contains(document.activeElement)) document.getElementById("close").focus();
    this.text.scrollTop = 0;
    this.text.parentElement.scrollTop = 0;
  }

  showPicture(row) {
    this.picture.replaceChildren();
    const key = this.rows.cell("object_key", row);
    const prompt = String(this.rows.cell("prompt", row) ?? "");
    if (!key) {
      this.picture.append(absence(this.rows, row));
      return;
    }
    const note = element("p");
    const image = element("img");
    image.alt = prompt.slice(0, 500);
    const width = this.rows.cell("width_px", row);
    const height = this.rows.cell("height_px", row);
    if (width && height) {
      image.width = width;
      image.height = height;
    }
    const small = thumbnailOf(this.rows, row);
    if (small) image.src = small;
    const failed = () => {
      if (this.row !== row) return;
      note.textContent = small
        ? "This is the thumbnail. The full image cannot be opened from here; it is at "
        : "The image cannot be opened from here; it is at ";
      note.append(element("code", {}, `${this.rows.about.store}/${key}`));
      this.picture.replaceChildren(...(small ? [image, note] : [note]));
    };
    const address = fullImageOf(this.rows, row);
    if (address === null) {
      failed();
      return;
    }
    const link = element("a", { href: address, target: "_blank", rel: "noopener noreferrer", title: "Open the full image" }, image);
    const full = new Image();
    full.addEventListener("load", () => this.row === row && (image.src = full.src));
    full.addEventListener("error", failed);
    full.src = link.href;
    this.picture.append(link, note);
  }

  showLineage(row) {
    this.text.replaceChildren();
    const prompt = this.rows.cell("prompt", row);
    this.text.append(element("p", { className: "prompt", dir: "auto" }, String(prompt ?? "")));
    const status = this.rows.cell("status", row);
    if (status !== "stored") {
      this.text.append(element("p", { className: "verdict bad" }, sentence(status, this.rows.cell("reason", row))));
    }
    if (this.rows.cell("rejected", row)) {
      this.text.append(element("p", { className: "verdict" }, sentence("rejected", this.rows.cell("reject_reasons", row))));
    }
    if (!this.readLineage()) {
      this.text.append(element("p", {}, "The lineage is still being loaded …"));
      addEventListener("DOMContentLoaded", () => this.row === row && this.showLineage(row), { once: true });
      return;
    }
    if (navigator.clipboard) this.text.append(this.copyButton(row));
    for (const [heading, names] of this.lineage.groups) {
      const list = element("dl");
      for (const name of names) {
        const value = this.cell(name, row);
        if (value === null || value === "" || name === "prompt") continue;
        list.append(element("dt", {}, name), element("dd", { dir: "auto" }, shownValue(name, value)));
      }
      if (list.children.length) this.text.append(element("h3", {}, heading), list);
    }
  }

  /** The long columns stand at the end of the page, and are parsed when they are wanted first. */
  readLineage() {
    if (!this.lineage && document.readyState !== "loading") this.lineage = readData("lineage-rows");
    return this.lineage !== null;
  }

  cell(name, row) {
    return cellOf(name in this.rows.columns ? this.rows.columns : this.lineage.columns, name, row);
  }

  copyButton(row) {
    const button = element("button", { type: "button" }, "Copy as JSON");
    button.addEventListener("click", async () => {
      const names = this.lineage.groups.flatMap(([, group]) => group);
      const record = Object.fromEntries(names.map((name) => [name, this.cell(name, row)]));
      try {
        await navigator.clipboard.writeText(JSON.stringify(record, null, 2));
        button.textContent = "Copied";
      } catch {
        button.textContent = "The browser did not allow it";
      }
    });
    return button;
  }

  listenForSwipes(move) {
    let from = null;
    this.picture.addEventListener("touchstart", (event) => {
      from = event.touches.length === 1 ? event.touches[0] : null;
    }, { passive: true });
    this.picture.addEventListener("touchend", (event) => {
      const to = event.changedTouches[0];
      const across = from ? to.clientX - from.clientX : 0;
      const down = from ? to.clientY - from.clientY : 0;
      from = null;
      if (Math.abs(across) > 48 && Math.abs(across) > 2 * Math.abs(down) && (window.visualViewport?.scale ?? 1) === 1) {
        move(across < 0 ? 1 : -1);
      }
    }, { passive: true });
  }
}

const HASHES = /^(?:[0-9a-f]{32,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[a-z0-9]+:\/\/|images\/).+)$/i;

function shownValue(name, value) {
  if (name.endsWith("size_bytes")) return `${value.toLocaleString("en")} bytes`;
  if (typeof value === "string" && HASHES.test(value)) return element("code", {}, value);
  return String(value);
}

function sentence(status, reason) {
  const words = String(status).replaceAll("_", " ");
  return reason ? `${words}: ${reason}` : words;
}

/** What stands where an image has no picture. */
function absence(rows, row) {
  const status = rows.cell("status", row);
  const reason = status === "stored" ? "no thumbnail could be made of it" : rows.cell("reason", row);
  const box = element("div", { className: "absent" });
  box.append(element("strong", {}, String(status).replaceAll("_", " ")));
  if (reason) box.append(element("span", { dir: "auto" }, String(reason).slice(0, 200)));
  return box;
}

function thumbnailOf(rows, row) {
  if (!rows.cell("has_thumbnail", row)) return null;
  const id = rows.cell("image_id", row);
  return `${rows.about.thumbnails}/${id.slice(0, 2)}/${id}.webp`;
}

/** Relative to the page: beside it, or up in the store; null where no link leads to the store. */
function fullImageOf(rows, row) {
  if (rows.about.images === null) return null;
  return rows.about.images + rows.cell("object_key", row).split("/").map(encodeURIComponent).join("/");
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
