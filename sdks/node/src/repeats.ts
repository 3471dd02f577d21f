// What a repeat is told by, and what it means that one is refused: that the try before it has done what was asked.
import type { Call } from "./core.js";
import { ApiError, type HookbusError, type ProblemDocument } from "./errors.js";

export type Fields = Record<string, unknown>;
export const isFields = (value: unknown): value is Fields => value !== null && typeof value === "object" && !Array.isArray(value);

/** Ids where there is no WebCrypto: they need to be different, not secret. */
const fallbackId = (): string => Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 12)).join("-");

export const newId = (): string => globalThis.crypto?.randomUUID?.() ?? fallbackId();

/** Events without an id get one before the first try: it is what a repeat is told by, in place of an `Idempotency-Key`. */
export function named(call: Call): Call {
  const withId = (event: unknown): unknown => (isFields(event) && (event["event_id"] ?? null) === null ? { ...event, event_id: newId() } : event);
  if (call.operation === "events.ingest") return { ...call, body: withId(call.body) };
  if (call.operation !== "events.ingestBatch" || !isFields(call.body) || !Array.isArray(call.body["events"])) return call;
  return { ...call, body: { ...call.body, events: call.body["events"].map(withId) } };
}

/** What a client knows of an event that is there already. */
export const known = ({ application_id, event_id }: Fields): Fields => ({ ...(application_id === undefined ? {} : { application_id }), event_id });

/** A batch's results after a repeat: an event that is there already was brought by an earlier try. */
export function brought(call: Call, read: unknown): unknown {
  const events = (call.body as { events: Fields[] }).events;
  if (!isFields(read) || !Array.isArray(read["results"]) || read["results"].length !== events.length) return read;
  const results = read["results"].map((result: { problem?: ProblemDocument } | null, place) =>
    result?.problem?.id === "EventAlreadyIngested" ? known(events[place] ?? {}) : result,
  );
  return { ...read, results };
}

export const isRepeat = (error: HookbusError): boolean => error instanceof ApiError && error.is("EventAlreadyIngested");

/** Whether a repeat is refused because the try before it has done what was asked. */
export function isDone(call: Call, error: HookbusError): boolean {
  if (call.method === "DELETE") return error instanceof ApiError && error.is("NotFound");
  return call.operation === "events.ingest" && isRepeat(error);
}
