// What goes wrong. `ApiError.id` and `code` are typed by the OpenAPI document.
import type { Code, ProblemId } from "./problems.js";
import type { Job } from "./types.gen.js";

/** How much of what a server says stands in an error's message; its fields have all of it. */
const MOST_TEXT = 1_000;

/** Where an error belongs to. */
export interface Where {
  operation?: string;
  tries?: number;
  requestId?: string;
}

/** Anything this package throws about a call: never with a token in it. */
export class HookbusError extends Error {
  /** The operation's id, such as `subscriptions.get`. */
  operation: string;
  /** How often it was sent. */
  tries: number;
  /** What the last answer said in `X-Request-Id`, for the server's logs. */
  requestId: string | undefined;
  /** Of an event that `create` could not send: it may have arrived, and is to be sent again under this id. */
  event_id?: string;

  constructor(message: string, where: Where = {}) {
    super(message);
    this.name = new.target.name;
    this.operation = where.operation ?? "";
    this.tries = where.tries ?? 1;
    this.requestId = where.requestId;
  }
}

/** No answer came: refused, reset, or not found. What was sent may have arrived. */
export class ConnectionFailed extends HookbusError {}

/** The server's certificate cannot be verified. Nothing was sent, and nothing is tried again: it would not become valid by that. */
export class CertificateRefused extends ConnectionFailed {}

/** No whole answer came in time. What was sent may have arrived. */
export class TimedOut extends HookbusError {}

/** The caller's signal has ended what many events are sent by. What was sent may have arrived. */
export class Aborted extends HookbusError {}

/** An answer that is too large, no JSON, or from somewhere else than Hookbus. */
export class BadAnswer extends HookbusError {}

/** An event of `createMany` that cannot be written as JSON: it was not sent. */
export class InvalidMessage extends HookbusError {}

/** A job that has ended without being done: it failed, or was cancelled. */
export class JobNotDone extends HookbusError {
  /** `job` is as it was last seen, with what it did until then in `counts`. */
  constructor(readonly job: Job, where: Where = {}) {
    super(`job ${job.job_id} is ${job.state}${job.detail ? `: ${job.detail}` : ""}`, where);
  }
}

/** 304: what `if_none_match` names is still current. */
export class NotModified extends HookbusError {}

/** A problem document as it is read: nothing in it is sure. */
export type ProblemDocument = Partial<Record<"id" | "code" | "title" | "detail" | "validation" | "status", unknown>>;

/** A problem document (RFC 9457). `errors` has a class for each id; an id that is newer than this package is this class. */
export class ApiError extends HookbusError {
  /** The HTTP status. */
  readonly status: number;
  /** The problem's id; one that is newer than this package is a string all the same. */
  readonly id: ProblemId | (string & {});
  /** What exactly, for programs; one that is newer than this package is a string all the same. */
  readonly code: Code | (string & {}) | undefined;
  readonly title: string;
  readonly detail: string;
  /** Messages per field. */
  readonly validation: Record<string, unknown> | undefined;
  /** Seconds the server asked to wait. */
  readonly retryAfter: number | undefined;

  constructor(status: number, problem: ProblemDocument, where: Where = {}, retryAfter?: number) {
    const text = (value: unknown): string => (typeof value === "string" ? value : "");
    super(`${`${status} ${text(problem.id)}`.trim()}: ${(text(problem.detail) || text(problem.title)).slice(0, MOST_TEXT)}`, where);
    this.status = status;
    this.id = text(problem.id);
    this.code = text(problem.code) || undefined;
    this.title = text(problem.title);
    this.detail = text(problem.detail);
    this.validation = (problem.validation as Record<string, unknown> | null) ?? undefined;
    this.retryAfter = retryAfter;
  }

  /** Whether it is this problem: `error.is("NotFound")`. */
  is(id: ProblemId): boolean {
    return this.id === id;
  }

  /** Whether it is this code: `error.hasCode("idempotency_key_reused")`. */
  hasCode(code: Code): boolean {
    return this.code === code;
  }
}
