// A few larger frames of each clip, where the dataset has them: fetched after the clips, and ahead, so
// that nobody waits for them.

const KEPT = 16;

export class Wide {
  // row: where the frames are shown. get: path -> Response.
  constructor(row, get) {
    this.row = row;
    this.get = get;
    this.frames = new Map(); // key -> promise of images, in the order of use
    this.shown = null;
  }

  // Show the frames of a clip when they are there; those that cannot be had are not shown.
  async show(key) {
    this.shown = key;
    const images = await this.load(key).catch(() => []);
    if (this.shown === key) this.row.replaceChildren(...images);
  }

  clear() {
    this.shown = null;
    this.row.replaceChildren();
  }

  async fetchAhead(keys) {
    for (const key of keys) await this.load(key).catch(() => {});
  }

  load(key) {
    let images = this.frames.get(key);
    this.frames.delete(key);
    images ??= this.fetch(key);
    this.frames.set(key, images);
    images.catch(() => { if (this.frames.get(key) === images) this.frames.delete(key); });
    for (const old of this.frames.keys()) {
      if (this.frames.size <= KEPT) break;
      if (old === this.shown) continue;
      this.frames.get(old).then((gone) => gone.forEach((image) => URL.revokeObjectURL(image.src)), () => {});
      this.frames.delete(old);
    }
    return images;
  }

  async fetch(key) {
    const of = `/clip/${encodeURIComponent(key)}`;
    const { frames } = await (await this.have(`${of}/wide.json`)).json();
    return Promise.all(frames.map(async (frame) => {
      const jpeg = await this.have(`${of}/wide/${frame}.jpg`);
      const image = document.createElement("img");
      image.alt = `Frame ${frame} of the clip, larger`;
      image.dataset.key = key;
      image.src = URL.createObjectURL(await jpeg.blob());
      await image.decode();
      return image;
    }));
  }

  async have(path) {
    const response = await this.get(path);
    if (!response.ok) throw Object.assign(new Error("no frame"), { status: response.status });
    return response;
  }
}
