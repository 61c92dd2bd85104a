// The clips as video elements: fetched whole and ahead, so that the next one is there at once, and those
// just seen stay for an undo.

const KEPT = 16;

export class Reel {
  // stage: where the clip is shown. get: path -> Response.
  constructor(stage, get) {
    this.stage = stage;
    this.get = get;
    this.videos = new Map(); // key -> promise of a video element, in the order of use
  }

  // Show a clip in a loop; resolves when it plays, rejects with a `status` if the server has it not.
  async show(key) {
    this.shown = key;
    const video = await this.load(key);
    if (this.shown !== key) return;
    this.stage.replaceChildren(video);
    this.fit();
    video.currentTime = 0;
    await video.play().catch(() => {}); // a browser may wait for the first tap
  }

  clear() {
    this.shown = null;
    this.stage.replaceChildren();
  }

  // One after the other, so that the next one is there first.
  async fetchAhead(keys) {
    for (const key of keys) await this.load(key).catch(() => {});
  }

  // As large as whole multiples of its pixels allow.
  fit() {
    const video = this.stage.querySelector("video");
    if (!video?.videoWidth) return;
    const ratio = devicePixelRatio || 1;
    const room = Math.min(
      (this.stage.clientWidth * ratio) / video.videoWidth,
      (this.stage.clientHeight * ratio) / video.videoHeight,
    );
    const scale = (room >= 1 ? Math.floor(room) : room) / ratio;
    video.width = video.videoWidth * scale;
    video.height = video.videoHeight * scale;
  }

  load(key) {
    let video = this.videos.get(key);
    this.videos.delete(key);
    video ??= this.fetch(key);
    this.videos.set(key, video);
    video.catch(() => { if (this.videos.get(key) === video) this.videos.delete(key); });
    for (const old of this.videos.keys()) {
      if (this.videos.size <= KEPT) break;
      if (old === this.shown) continue;
      this.videos.get(old).then((gone) => URL.revokeObjectURL(gone.src), () => {});
      this.videos.delete(old);
    }
    return video;
  }

  async fetch(key) {
    const response = await this.get(`/clip/${encodeURIComponent(key)}.mp4`);
    if (!response.ok) throw Object.assign(new Error("no clip"), { status: response.status });
    const video = document.createElement("video");
    Object.assign(video, { muted: true, loop: true, playsInline: true, preload: "auto" });
    video.dataset.key = key;
    video.src = URL.createObjectURL(await response.blob());
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(Object.assign(new Error("not playable"), { status: 415 }));
    });
    return video;
  }
}
