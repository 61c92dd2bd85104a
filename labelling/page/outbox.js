// What the server must learn, kept in the browser's storage until it has. One entry an op, so that two
// pages of one labeller never write over each other's; should both send one, it counts once.

const RETRY_FIRST_MS = 250;
const RETRY_LAST_MS = 4000;

export class Outbox {
  // prefix: of the entries in the storage. send: op -> what the server told, or an error with a `status`.
  constructor(prefix, send) {
    this.prefix = `${prefix}/`;
    this.send = send;
    this.onSent = this.onWait = this.onRefused = () => {};
    this.flushing = null;
    this.ops = Object.keys(localStorage)
      .filter((name) => name.startsWith(this.prefix))
      .sort()
      .map((name) => ({ name, op: JSON.parse(localStorage.getItem(name)) }));
    this.serial = 0;
  }

  get size() {
    return this.ops.length;
  }

  add(op) {
    const order = `${String(Date.now()).padStart(15, "0")}-${String(this.serial++).padStart(6, "0")}`;
    const name = `${this.prefix}${order}-${op.kind}-${op.id}`;
    try {
      localStorage.setItem(name, JSON.stringify(op));
    } catch { /* a full or forbidden storage: what is in memory is sent all the same */ }
    this.ops.push({ name, op });
    this.flush();
  }

  // Resolves when there is nothing left to send.
  flush() {
    this.flushing ??= this.run().finally(() => { this.flushing = null; });
    return this.flushing;
  }

  async run() {
    let wait = RETRY_FIRST_MS;
    while (this.ops.length) {
      const { name, op } = this.ops[0];
      let done;
      try {
        const told = await this.send(op);
        done = () => this.onSent(told);
      } catch (error) {
        // 403, 409: not this server's business, but perhaps that of the next one at this address.
        const later = error.status === undefined || error.status >= 500 || [403, 409].includes(error.status);
        if (later) {
          this.onWait(error);
          await new Promise((resolve) => setTimeout(resolve, wait));
          wait = Math.min(2 * wait, RETRY_LAST_MS);
          continue;
        }
        done = () => this.onRefused(error);
      }
      wait = RETRY_FIRST_MS;
      this.ops.shift();
      localStorage.removeItem(name);
      done();
    }
  }
}
