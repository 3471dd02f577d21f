// From a call to its answer, over fetch.
import { ApiError, BadAnswer, CertificateRefused, ConnectionFailed, HookbusError, NotModified, TimedOut, type ProblemDocument, type Where } from "./errors.js";
import { nextPage, Pages } from "./pages.js";
import { BY_ID } from "./problems.js";
import { brought, isDone, isFields, known, named, newId, type Fields } from "./repeats.js";
import { pause, POLICY, retryAfter, type RetryPolicy } from "./retry.js";
import { VERSION } from "./version.js";

/** What an operation sends. `path` are its segments, not yet encoded; `content` stands in place of `body` where its text matters. */
export interface Call {
  operation: string;
  method: string;
  path: readonly string[];
  query?: Record<string, unknown>;
  headers?: Record<string, string | undefined>;
  body?: unknown;
  content?: string;
}

/** What a single call may be given. */
export interface CallOptions {
  /** Ends it, and its pauses. */
  signal?: AbortSignal;
}

/** What came back, whole, and how often it was asked for. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  tries: number;
  /** Whether a try before the last may have arrived. */
  mayHaveArrived: boolean;
}

export interface Options {
  /** Where Hookbus is; else `HOOKBUS_URL`. */
  baseUrl?: string;
  /** How long calls may take. */
  retry?: Partial<RetryPolicy>;
  /** Is given each operation's id and answer, with its headers (`ETag`, `Hookbus-Consistency-Token`). */
  onAnswer?: (operation: string, answer: Answer) => void;
  /** In place of the global one: a fake in tests, or a proxy's. */
  fetch?: typeof globalThis.fetch;
  /** Larger answers are refused; 8 MiB by default. */
  maxAnswerBytes?: number;
}

/** What Node and Bun call a certificate that they do not verify: OpenSSL's names. */
const CERTIFICATE =
  /^(CERT_|ERR_TLS_CERT_|UNABLE_TO_(GET|DECRYPT|DECODE|VERIFY)_|INVALID_(CA|PURPOSE)$|PATH_LENGTH_EXCEEDED$|HOSTNAME_MISMATCH$)|SELF_SIGNED_CERT/;

/** Milliseconds of the longest timer: one that is longer ends at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

const environment = (name: string): string | undefined =>
  (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name];

/** Sends calls: the one place that knows the token. */
export class Sender {
  readonly baseUrl: string;
  readonly retry: RetryPolicy;
  readonly #token: string;
  readonly #options: Options;

  constructor(token: string | undefined, options: Options) {
    this.#token = (token ?? environment("HOOKBUS_TOKEN") ?? "").trim();
    if (!/^[!-~]+$/.test(this.#token)) {
      throw new TypeError("a token of visible ASCII characters is needed, without `Bearer`: the first argument, or HOOKBUS_TOKEN");
    }
    const url = options.baseUrl ?? environment("HOOKBUS_URL");
    if (!url) throw new TypeError("the address of Hookbus is needed: the option baseUrl, or HOOKBUS_URL");
    checkAddress(url);
    this.baseUrl = url.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
    this.retry = { ...POLICY, ...options.retry };
    this.#options = options;
  }

  /** A call and what it answers. Models are plain objects: what is newer than this package stays in them. */
  async send<T>(given: Call, options: CallOptions = {}): Promise<T> {
    const call = named(given);
    const answer = await this.exchange(call, options);
    if (answer.status === 409) return known(call.body as Fields) as T;
    const read = decode<T>(call, answer);
    return call.operation === "events.ingestBatch" && answer.mayHaveArrived ? (brought(call, read) as T) : read;
  }

  /** A list, page by page. */
  pages<T>(call: Call, options: CallOptions = {}): Pages<T> {
    return new Pages<T>(async (url) => {
      const answer = await this.exchange(call, options, url);
      const items = decode<T[]>(call, answer);
      if (!Array.isArray(items)) throw new BadAnswer("a list was expected", { operation: call.operation });
      return { items, nextUrl: nextPage(url ?? this.url(call), answer.headers.get("link")) };
    });
  }

  /** Sends until there is an answer that stays, or the time is over. What an earlier try may have done is an answer too: the 409 of
   * an event, the 404 of what was deleted. */
  async exchange(call: Call, options: CallOptions, url = this.url(call)): Promise<Answer> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}`, accept: "application/json, application/problem+json" };
    // Browsers decide over these two themselves.
    headers["user-agent"] = `hookbus-node/${VERSION}`;
    headers["accept-encoding"] = "identity";
    for (const [name, value] of Object.entries(call.headers ?? {})) {
      if (value === undefined) continue;
      // Told here: fetch fails over it as over a connection, and shows it.
      if (!/^[ -~]*$/.test(value)) throw new TypeError(`${call.operation}: ${name} has characters that cannot stand in a header`);
      headers[name.toLowerCase()] = value;
    }
    const content = call.content ?? (call.body === undefined ? undefined : encode(call.body));
    if (content !== undefined) headers["content-type"] = "application/json";
    if (call.method === "POST" && !call.operation.startsWith("events.ingest")) headers["idempotency-key"] ??= newId();
    const begun = performance.now();
    for (let tries = 1, mayHaveArrived = false; ; tries++) {
      const left = this.retry.totalMs - (performance.now() - begun);
      const limit = Math.max(tries > 1 ? Math.min(this.retry.perTryMs, left) : this.retry.perTryMs, 1);
      const outcome = await this.#try(call, url, headers, content, limit, options.signal);
      let error: HookbusError;
      let askedMs = 0;
      if (outcome instanceof HookbusError) {
        error = Object.assign(outcome, { operation: call.operation, tries });
        if (error instanceof BadAnswer || error instanceof CertificateRefused) throw error;
        mayHaveArrived = true;
      } else {
        const answer: Answer = { ...outcome, tries, mayHaveArrived };
        this.#options.onAnswer?.(call.operation, answer);
        if (answer.status >= 200 && answer.status < 300) return answer;
        error = problem(call.operation, answer);
        if (mayHaveArrived && isDone(call, error)) return answer;
        if (!isTransient(error)) throw error;
        mayHaveArrived ||= answer.status >= 500;
        askedMs = 1000 * (retryAfter(answer.headers.get("retry-after"), Date.now()) ?? 0);
      }
      const wait = pause(this.retry, tries, performance.now() - begun, askedMs, Math.random);
      if (wait === undefined) throw error;
      await sleep(wait, options.signal);
    }
  }

  /** One request. Only the kind of a cause is told: texts of causes may hold what was sent. */
  async #try(call: Call, url: string, headers: Record<string, string>, content: string | undefined, limitMs: number, signal?: AbortSignal) {
    signal?.throwIfAborted();
    const ended = new AbortController();
    const abort = () => ended.abort();
    const timer = setTimeout(abort, Math.min(limitMs, LONGEST_TIMER));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const init: RequestInit = { method: call.method, headers, redirect: "manual", signal: ended.signal };
      if (content !== undefined) init.body = content;
      const response = await (this.#options.fetch ?? globalThis.fetch)(url, init);
      return { status: response.status, headers: response.headers, text: await this.#read(response, ended.signal) };
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof HookbusError) return error;
      const { origin } = new URL(url);
      if (ended.signal.aborted || (error as Error)?.name === "TimeoutError") return new TimedOut(`no answer in time from ${origin}`);
      const { cause, code = cause?.code } = (error ?? {}) as { cause?: { code?: unknown }; code?: unknown };
      const told = typeof code === "string" ? code : "the connection failed";
      return new (CERTIFICATE.test(told) ? CertificateRefused : ConnectionFailed)(`no answer from ${origin}: ${told}`);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The body, no larger than the bound, no longer than its try may take. */
  async #read(response: Response, signal: AbortSignal): Promise<string> {
    const most = this.#options.maxAnswerBytes ?? 8 * 1024 * 1024;
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    let text = "";
    let size = 0;
    while (reader) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
      if (size > most) {
        await reader.cancel().catch(() => undefined);
        throw new BadAnswer(`the answer is larger than ${most} bytes`);
      }
      text += decoder.decode(value, { stream: true });
    }
    return text + decoder.decode();
  }

  /** The address of a call. A segment that a server or proxy would take for a step up is refused. */
  url(call: Call): string {
    for (const segment of call.path as readonly unknown[]) {
      if (typeof segment !== "string") throw new TypeError(`${call.operation}: its arguments are an object that has every id of the path`);
      if (["", ".", ".."].includes(segment)) throw new TypeError(`${call.operation}: ${JSON.stringify(segment)} cannot stand in a path`);
    }
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      for (const item of Array.isArray(value) ? value : [value]) if (item !== undefined && item !== null) query.append(name, String(item));
    }
    const path = call.path.map((segment) => encodeURIComponent(segment).replaceAll("%3A", ":")).join("/");
    return `${this.baseUrl}/${path}${query.size ? `?${query}` : ""}`;
  }
}

/** Refuses what is no address of a server. It is in no message: it may hold a password. */
function checkAddress(url: string): void {
  let read: URL | undefined;
  try {
    read = new URL(url);
  } catch {
    throw new TypeError("the address of Hookbus is no URL");
  }
  if (!/^https?:$/.test(read.protocol)) throw new TypeError("the address of Hookbus begins with http:// or https://");
  if (read.username || read.password || read.search || read.hash) {
    throw new TypeError("the address of Hookbus has no user, password, query or fragment: the token is the first argument");
  }
}

/** JSON as it goes out. A bigint has no JSON of its own here: as raw text it keeps every digit. */
export function encode(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "bigint") throw new TypeError("a bigint in a payload: give the JSON text itself, as rawJson(text)");
    if (typeof item === "number" && !Number.isFinite(item)) throw new TypeError(`${item} is no JSON`);
    return item;
  }) as string | undefined;
  if (text === undefined) throw new TypeError("undefined is no JSON");
  return text;
}

export function decode<T>(call: Call, answer: Answer): T {
  // Of operations without an answer.
  if (answer.status === 204 || (answer.status === 404 && call.method === "DELETE")) return undefined as T;
  try {
    return JSON.parse(answer.text) as T;
  } catch {
    throw new BadAnswer("the answer is no JSON", where(call.operation, answer));
  }
}

export const isTransient = (error: HookbusError): boolean => error instanceof ApiError && (error.status >= 500 || error.is("RateLimited"));

function where(operation: string, answer: Answer) {
  const requestId = answer.headers.get("x-request-id");
  return { operation, tries: answer.tries, ...(requestId === null ? {} : { requestId }) };
}

/** The error an answer stands for. */
function problem(operation: string, answer: Answer): HookbusError {
  if (answer.status === 304) return new NotModified("not modified", where(operation, answer));
  let document: unknown;
  try {
    document = JSON.parse(answer.text);
  } catch {
    document = undefined;
  }
  let read: ProblemDocument = isFields(document) ? document : {};
  if (!read.id && !read.detail && !read.title) {
    const redirect = "a redirect, which is not followed: it would be sent the token";
    const told = answer.status < 400 ? redirect : "the answer is no problem document";
    read = { ...read, detail: `${told}. Is baseUrl the address of Hookbus?` };
  }
  return apiError(answer.status, read, where(operation, answer), retryAfter(answer.headers.get("retry-after"), Date.now()));
}

/** The error of a problem's id. */
export function apiError(status: number, read: ProblemDocument, where: Where, retryAfterSeconds?: number): ApiError {
  const id = typeof read.id === "string" && Object.hasOwn(BY_ID, read.id) ? (read.id as keyof typeof BY_ID) : undefined;
  return new (id ? BY_ID[id] : ApiError)(status, read, where, retryAfterSeconds);
}

/** Waits, or ends with the signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, Math.min(ms, LONGEST_TIMER));
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}
