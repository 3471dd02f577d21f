// Sending events: one, or many.
import { apiError, decode, encode, isTransient, sleep, type CallOptions, type Sender } from "./core.js";
import { Aborted, ApiError, BadAnswer, HookbusError, InvalidMessage, type ProblemDocument } from "./errors.js";
import { isRepeat, newId } from "./repeats.js";
import { pause } from "./retry.js";

const MAX_EVENTS = 1000;
const MAX_BYTES = 2 * 1024 * 1024;
const HEAD = '{"events":[';
const TAIL = "]}";

/** A payload that is JSON text already: it arrives byte for byte. */
export class RawJson {
  constructor(readonly text: string) {
    // What is no JSON value on its own would reach into the fields around it.
    try {
      JSON.parse(text);
    } catch {
      throw new TypeError("a rawJson holds one JSON value, and this text is none");
    }
  }
}

/** A payload that is JSON text already: numbers of any size, keys in their order. */
export const rawJson = (text: string): RawJson => new RawJson(text);

/** An event to send. */
export interface MessageIn {
  /** A type that the application has declared, such as `invoice.paid`. */
  event_type: string;
  /** A JSON value; `rawJson(text)`; or text together with `payload_content_type`. */
  payload: unknown;
  /** 1 to 128 visible ASCII characters, the idempotency key; one is made if it is left out. */
  event_id?: string;
  /** What subscriptions select by. */
  labels?: Record<string, string>;
  /** When it happened; now, if left out. */
  occurred_at?: Date | string;
  /** The sender's own data. */
  metadata?: Record<string, string>;
  /** Events with one key are fanned out in order. */
  ordering_key?: string;
  payload_content_type?: string;
}

/** An event that Kafka has. `received_at` is missing where a repeat learnt only that it is there. */
export interface MessageOut {
  application_id: string;
  event_id: string;
  received_at?: string;
}

/** What became of one event of many. */
export type MessageResult = { event_id: string; message: MessageOut; error?: never } | { event_id: string; error: HookbusError; message?: never };

/** An event as it goes out, and its place among those that were given. */
interface Encoded {
  place: number;
  id: string;
  text: string;
  bytes: number;
}

function encoded(applicationId: string, message: MessageIn, place = 0): Encoded {
  const { payload, event_id, occurred_at, ...rest } = message;
  const id = event_id ?? newId();
  const at = occurred_at instanceof Date ? occurred_at.toISOString() : occurred_at;
  const fields = encode({ application_id: applicationId, ...rest, event_id: id, occurred_at: at });
  const text = `${fields.slice(0, -1)},"payload":${payload instanceof RawJson ? payload.text : encode(payload)}}`;
  return { place, id, text, bytes: new TextEncoder().encode(text).byteLength };
}

/** Those that can go out. Of the others, the results say why not: what was sent before them is not lost sight of. */
function* ready(applicationId: string, messages: Iterable<MessageIn>, results: MessageResult[]): Generator<Encoded> {
  let place = 0;
  for (const message of messages) {
    try {
      yield encoded(applicationId, message, place);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      const told = new InvalidMessage(error.message, { operation: "events.ingestBatch", tries: 0 });
      results[place] = { event_id: message?.event_id ?? "", error: told };
    }
    place++;
  }
}

/** What an accepted event is answered with. What names no event is from somewhere else, which has not taken it; what names another
 * one is the answer of another request. */
function accepted(read: unknown, eventId: string, operation: string): MessageOut {
  const told = (read as Partial<MessageOut> | null | undefined)?.event_id;
  if (typeof told !== "string") throw new BadAnswer("the answer is not that of an event: is baseUrl the address of Hookbus?", { operation });
  if (told !== eventId) throw new BadAnswer("the answer is that of another event", { operation });
  return read as MessageOut;
}

/** Parts of at most 1,000 events and 2 MiB. One that is larger alone goes alone, and the server says what it thinks of it. */
function* batches(events: Iterable<Encoded>): Generator<Encoded[]> {
  let part: Encoded[] = [];
  let size = HEAD.length + TAIL.length;
  for (const event of events) {
    if (part.length && (part.length === MAX_EVENTS || size + event.bytes + 1 > MAX_BYTES)) {
      yield part;
      [part, size] = [[], HEAD.length + TAIL.length];
    }
    part.push(event);
    size += event.bytes + 1;
  }
  if (part.length) yield part;
}

/** Sending events. */
export class Messages {
  constructor(private readonly sender: Sender) {}

  /** Sends one event: it is in Kafka when this resolves. Safe to repeat, and repeated as the client's policy says. */
  async create(applicationId: string, message: MessageIn, options: CallOptions = {}): Promise<MessageOut> {
    const { id, text } = encoded(applicationId, message);
    const call = { operation: "events.ingest", method: "POST", path: ["api", "v1", "event"], content: text };
    try {
      const answer = await this.sender.exchange(call, options);
      if (answer.status === 409) return { application_id: applicationId, event_id: id };
      return accepted(decode(call, answer), id, call.operation);
    } catch (error) {
      // What may have arrived can be sent again under this id only.
      if (error instanceof HookbusError) error.event_id = id;
      throw error;
    }
  }

  /** Sends many, up to 1,000 or 2 MiB a request, and says for each what became of it, in their order. After a request that failed as
   * a whole nothing more is sent: the rest has its error too, and so it is when the signal ends it. */
  async createMany(applicationId: string, messages: Iterable<MessageIn>, options: CallOptions = {}): Promise<MessageResult[]> {
    const results: MessageResult[] = [];
    let ended: HookbusError | undefined;
    for (const part of batches(ready(applicationId, messages, results))) {
      if (ended) {
        for (const { place, id } of part) results[place] = { event_id: id, error: ended };
        continue;
      }
      const failure = await this.#batch(applicationId, part, results, options);
      // What a request held may be at fault, and others may succeed.
      const ofOneEvent = failure instanceof ApiError && [400, 413, 422].includes(failure.status);
      if (failure && !ofOneEvent) ended = failure;
    }
    return results;
  }

  /** One request's events, and what the request failed for. Those that are worth a repeat are sent again, alone among themselves. */
  async #batch(applicationId: string, part: Encoded[], results: MessageResult[], options: CallOptions): Promise<HookbusError | undefined> {
    const begun = performance.now();
    const mayHaveArrived = new Set<number>();
    const failed = (waiting: Encoded[], error: HookbusError): HookbusError => {
      for (const { place, id } of waiting) results[place] = { event_id: id, error };
      return error;
    };
    let waiting = part;
    for (let rounds = 1; ; rounds++) {
      const content = HEAD + waiting.map(({ text }) => text).join(",") + TAIL;
      const call = { operation: "events.ingestBatch", method: "POST", path: ["api", "v1", "events:batch"], content };
      let told: unknown[];
      let tries = rounds;
      try {
        const answer = await this.sender.exchange(call, options);
        tries += answer.tries - 1;
        const read = decode<{ results?: unknown[] } | undefined>(call, answer)?.results;
        if (!Array.isArray(read) || read.length !== waiting.length) throw new BadAnswer("a result for each event was expected", { operation: call.operation });
        told = read;
        if (answer.mayHaveArrived) for (const { place } of waiting) mayHaveArrived.add(place);
      } catch (error) {
        if (error instanceof HookbusError) return failed(waiting, error);
        // What was sent before is not lost sight of.
        if (options.signal?.aborted) return failed(waiting, aborted(options.signal));
        throw error;
      }
      const again: Encoded[] = [];
      for (const [index, event] of waiting.entries()) {
        const result = oneOf(told[index], applicationId, event.id, tries, mayHaveArrived.has(event.place));
        results[event.place] = result;
        if (result.error && isTransient(result.error)) again.push(event);
        if (result.error instanceof ApiError && result.error.status >= 500) mayHaveArrived.add(event.place);
      }
      const wait = again.length ? pause(this.sender.retry, rounds, performance.now() - begun, 0, Math.random) : undefined;
      if (wait === undefined) return undefined;
      waiting = again;
      try {
        await sleep(wait, options.signal);
      } catch {
        return failed(waiting, aborted(options.signal));
      }
    }
  }
}

/** What the signal has ended. */
function aborted(signal: AbortSignal | undefined): Aborted {
  return Object.assign(new Aborted("the signal has ended it", { operation: "events.ingestBatch" }), { cause: signal?.reason as unknown });
}

/** What the server says of one event. After a try that may have arrived, a 409 says that it has brought it. */
function oneOf(result: unknown, applicationId: string, eventId: string, tries: number, mayHaveArrived: boolean): MessageResult {
  const refused = (result as { problem?: ProblemDocument } | null)?.problem;
  const operation = "events.ingestBatch";
  if (!refused) {
    try {
      return { event_id: eventId, message: accepted(result, eventId, operation) };
    } catch (error) {
      return { event_id: eventId, error: error as BadAnswer };
    }
  }
  const error = apiError(typeof refused.status === "number" ? refused.status : 0, refused, { operation, tries });
  if (mayHaveArrived && isRepeat(error)) return { event_id: eventId, message: { application_id: applicationId, event_id: eventId } };
  return { event_id: eventId, error };
}
