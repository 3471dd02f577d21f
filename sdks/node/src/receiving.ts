// Receiving well: every delivery verified, every event handled once, and counted.
import { WebhookError, type HeadersLike, type Reason, type Webhook, type WebhookEvent } from "./webhooks.js";

/** Another attempt of an event that is being handled: it may fail yet, so answer 503, and it comes again. */
export class StillProcessing extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StillProcessing";
  }
}

/** Remembers which events were taken. A store of your own has these two methods. */
export interface Seen {
  /** Whether this id is new; from now on it is not. */
  claim(id: string): boolean | Promise<boolean>;
  /** Forgets an id whose event could not be handled, so that the next attempt is taken. */
  release(id: string): void | Promise<void>;
}

/** Remembers the last ids in this process: for one process, and for tests. */
export class MemorySeen implements Seen {
  readonly #ids = new Set<string>();

  constructor(private readonly most = 100_000) {}

  claim(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > this.most && oldest !== undefined) this.#ids.delete(oldest);
    return true;
  }

  release(id: string): void {
    this.#ids.delete(id);
  }
}

/** Runs one statement and says how many rows it has changed. */
export type Execute = (sql: string, parameters: [string]) => Promise<number> | number;

/** Remembers ids in a table `webhooks_seen (id TEXT PRIMARY KEY, seen_at ...)` of PostgreSQL (`$1`) or SQLite (`?`). Run it in the
 * transaction that holds what handling the event writes, so that both or neither is there. */
export class TableSeen implements Seen {
  constructor(private readonly execute: Execute, private readonly mark: "$1" | "?" = "$1") {}

  async claim(id: string): Promise<boolean> {
    return (await this.execute(`INSERT INTO webhooks_seen (id) VALUES (${this.mark}) ON CONFLICT (id) DO NOTHING`, [id])) === 1;
  }

  async release(id: string): Promise<void> {
    await this.execute(`DELETE FROM webhooks_seen WHERE id = ${this.mark}`, [id]);
  }
}

/** What a receiver has seen. `text()` is a page for Prometheus. */
export class Counters {
  verified = 0;
  duplicates = 0;
  processed = 0;
  failed = 0;
  processingSeconds = 0;
  readonly refused: Partial<Record<Reason, number>> = {};

  /** In the text format of Prometheus. */
  text(): string {
    const refused = Object.entries(this.refused).sort(([a], [b]) => (a < b ? -1 : 1));
    return [
      "# TYPE webhooks_verified_total counter",
      `webhooks_verified_total ${this.verified}`,
      "# TYPE webhooks_duplicates_total counter",
      `webhooks_duplicates_total ${this.duplicates}`,
      "# TYPE webhooks_refused_total counter",
      ...refused.map(([reason, count]) => `webhooks_refused_total{reason="${reason}"} ${count}`),
      "# TYPE webhooks_failed_total counter",
      `webhooks_failed_total ${this.failed}`,
      "# TYPE webhooks_processing_seconds summary",
      `webhooks_processing_seconds_sum ${this.processingSeconds.toFixed(6)}`,
      `webhooks_processing_seconds_count ${this.processed + this.failed}`,
      "",
    ].join("\n");
  }
}

/** Verifies, drops duplicates, counts. Framework code is left with reading the body and answering. */
export class Receiver {
  readonly #processing = new Set<string>();

  constructor(readonly webhook: Webhook, readonly seen: Seen = new MemorySeen(), readonly counters: Counters = new Counters()) {}

  /** A delivery that is to be handled, or nothing for one that was taken before: answer 2xx to both. Throws a `WebhookError` for one
   * that does not verify, or of which no id is signed: answer 401; a `StillProcessing` while `processing` of this receiver handles an
   * attempt before it: answer 503. */
  async accept(body: Uint8Array | ArrayBuffer, headers: HeadersLike, now?: number): Promise<WebhookEvent | undefined> {
    let event: WebhookEvent;
    try {
      event = await this.webhook.verify(body, headers, now);
      if (event.id === undefined) throw new WebhookError("malformed", "no id is signed, so that duplicates cannot be told: sign with `standard`");
    } catch (error) {
      if (error instanceof WebhookError) this.counters.refused[error.reason] = (this.counters.refused[error.reason] ?? 0) + 1;
      throw error;
    }
    this.counters.verified++;
    const id = event.id as string;
    // Before the claim as well: whoever has failed since then has given it back.
    const processing = this.#processing.has(id);
    if (await this.seen.claim(id)) return event;
    this.counters.duplicates++;
    if (processing || this.#processing.has(id)) throw new StillProcessing(`an attempt of ${id} before this one is still being handled`);
    return undefined;
  }

  /** Handles the event: takes its time, and takes back the claim if it fails, so that it is delivered again. */
  async processing<T>(event: WebhookEvent, handle: () => T | Promise<T>): Promise<T> {
    const begun = performance.now();
    if (event.id !== undefined) this.#processing.add(event.id);
    try {
      const result = await handle();
      this.counters.processed++;
      return result;
    } catch (error) {
      // Before the claim: giving it back may fail too, as in a transaction that is broken.
      this.counters.failed++;
      if (event.id !== undefined) await this.seen.release(event.id);
      throw error;
    } finally {
      if (event.id !== undefined) this.#processing.delete(event.id);
      this.counters.processingSeconds += (performance.now() - begun) / 1000;
    }
  }
}
