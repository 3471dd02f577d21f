// Verifying what Hookbus delivered: one call, all its signatures, over the raw bytes of the body. WebCrypto is all it needs, so it
// runs in Node, Deno, Bun and edge workers. A `v1`, `v1a` or `t=,h=,v1=` signs a time; `sha256=` does not: a copy verifies for ever.

export { Counters, MemorySeen, Receiver, StillProcessing, TableSeen, type Seen } from "./receiving.js";

/** What runtimes hold headers in: `Headers`, Node's `req.headers`, or pairs. */
export type HeadersLike = Iterable<readonly [string, string]> | Record<string, string | readonly string[] | undefined>;

/** Why a request does not verify. */
export type Reason = "missing" | "malformed" | "too_old" | "too_new" | "no_match";

/** A request that is not what Hookbus sent, or not what the secrets verify. */
export class WebhookError extends Error {
  constructor(readonly reason: Reason, message: string) {
    super(message);
    this.name = "WebhookError";
  }
}

/** A delivery whose signature holds. */
export class WebhookEvent {
  /** What to tell duplicates by: the signed one of `webhook-id` and `X-Event-Id`; missing with `sha256=`, which signs none. */
  readonly id: string | undefined;
  readonly signedBy: "standard" | "ed25519" | "hook0" | "hook0_body";
  /** Unix seconds of this attempt; missing with `sha256=`. */
  readonly timestamp: number | undefined;
  readonly eventType: string | undefined;
  readonly deliveryId: string | undefined;
  readonly attempt: number | undefined;
  readonly replay: string | undefined;
  readonly contentType: string | undefined;
  /** The bytes that were verified. */
  readonly body: Uint8Array;

  constructor(found: Found, body: Uint8Array, signedBy: WebhookEvent["signedBy"], id?: string, timestamp?: number) {
    const attempt = found.get("x-hookbus-attempt");
    this.id = id;
    this.signedBy = signedBy;
    this.timestamp = timestamp;
    this.eventType = found.get("x-event-type");
    this.deliveryId = found.get("x-hookbus-delivery-id");
    this.attempt = attempt !== undefined && /^\d{1,9}$/.test(attempt) ? Number(attempt) : undefined;
    this.replay = found.get("x-hookbus-replay");
    this.contentType = found.get("content-type");
    this.body = body;
  }

  /** The body as text: all digits of its numbers, its keys in their order. */
  get text(): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.body);
  }

  /** The body as JSON. Throws for a body that is none. */
  get data(): unknown {
    return JSON.parse(this.text);
  }
}

type Verifies = (signature: Uint8Array, message: Uint8Array) => Promise<boolean>;
interface Keys {
  standard?: Verifies;
  ed25519?: Verifies;
  hook0: Verifies[];
}

export interface WebhookOptions {
  /** Seconds that a signed time may lie from now, either way; 300 by default. */
  toleranceSeconds?: number;
  /** Refuses `sha256=`, which signs no time, so that a copy of a delivery verifies for ever. */
  requireTimestamp?: boolean;
}

/** More entries than this in one `webhook-signature` are not looked at: each one costs a check. */
const MAX_ENTRIES = 32;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Verifies deliveries. `secret` is `signing_secret` or `secret` of the subscription, a `whpk_` key, or several during a rotation. */
export class Webhook {
  readonly #keys: Promise<Keys>[];
  readonly #tolerance: number;
  readonly #requireTimestamp: boolean;

  constructor(secret: string | readonly string[], options: WebhookOptions = {}) {
    const secrets = typeof secret === "string" || !secret ? [secret] : secret;
    if (!secrets.length) throw new TypeError("at least one secret is needed");
    this.#keys = secrets.map(read).map(importKeys);
    // Told by `verify`, not as an unhandled rejection.
    for (const keys of this.#keys) keys.catch(() => undefined);
    this.#tolerance = options.toleranceSeconds ?? 300;
    // With what is no number every comparison is false, and every time in order.
    if (!Number.isFinite(this.#tolerance) || this.#tolerance < 0) throw new TypeError("toleranceSeconds is a number of seconds, 0 or more");
    this.#requireTimestamp = options.requireTimestamp ?? false;
  }

  /** The delivery, if a signature holds; else a `WebhookError`. `body` are the raw bytes, before any parser or decoder touched them;
   * `now` is in unix seconds. */
  async verify(body: Uint8Array | ArrayBuffer, headers: HeadersLike, now = Date.now() / 1000): Promise<WebhookEvent> {
    if (!Number.isFinite(now)) throw new TypeError("now is a number of unix seconds");
    const raw = bytesOf(body);
    const found = new Found(headers);
    const keys = await Promise.all(this.#keys);
    const [standard, hook0] = [found.get("webhook-signature"), found.get("x-hook0-signature")];
    if (standard === undefined && hook0 === undefined) throw new WebhookError("missing", "neither webhook-signature nor X-Hook0-Signature is there");
    if (standard !== undefined) {
      const [id, time] = [found.need("webhook-id"), found.need("webhook-timestamp")];
      const timestamp = this.#time(time, now);
      const by = await anyEntry(keys, standard, joined([bytes(id), utf8(time), raw]));
      if (by) return new WebhookEvent(found, raw, by, id, timestamp);
    }
    if (hook0 !== undefined && !hook0.startsWith("sha256=")) {
      const parts = hook0Parts(hook0);
      const timestamp = this.#time(parts.t, now);
      const names = parts.h.split(" ").filter((name) => name !== "");
      const values = names.map((name) => bytes(found.need(name)));
      const message = joined([utf8(parts.t), bytes(names.join(" ")), joined(values), raw]);
      if (await matches(keys, unhex(parts.v1), message)) {
        return new WebhookEvent(found, raw, "hook0", names.includes("x-event-id") ? found.get("x-event-id") : undefined, timestamp);
      }
    } else if (hook0 !== undefined && !this.#requireTimestamp && (await matches(keys, unhex(hook0.slice("sha256=".length)), raw))) {
      return new WebhookEvent(found, raw, "hook0_body");
    }
    throw new WebhookError("no_match", "no signature matches one of the secrets");
  }

  /** Digits only: `+5` or ` 5` would sign another message than the one a strict reader sees. */
  #time(text: string, now: number): number {
    if (!/^\d{1,18}$/.test(text)) throw new WebhookError("malformed", "the timestamp is not unix seconds in digits");
    const age = Math.floor(now) - Number(text);
    if (age > this.#tolerance) throw new WebhookError("too_old", `signed ${age} s ago, ${this.#tolerance} s are allowed`);
    if (-age > this.#tolerance) throw new WebhookError("too_new", `signed ${-age} s ahead, ${this.#tolerance} s are allowed`);
    return Number(text);
  }
}

/** The raw bytes. Test runners and edge runtimes have an `ArrayBuffer` of their own, so it is known by its name. */
function bytesOf(body: unknown): Uint8Array {
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  if (Object.prototype.toString.call(body) === "[object ArrayBuffer]") return new Uint8Array(body as ArrayBuffer);
  const kind = body === null ? "null" : typeof body;
  throw new TypeError(`the body must be the raw bytes as they arrived, not ${kind}: what was decoded or parsed has other bytes`);
}

/** Headers by lower-case name. */
class Found {
  readonly #values = new Map<string, string[]>();

  constructor(headers: HeadersLike) {
    if (!headers) throw new TypeError("the headers of the request are needed");
    const pairs = Symbol.iterator in headers ? headers : Object.entries(headers);
    for (const [name, value] of pairs as Iterable<readonly [string, string | readonly string[] | undefined]>) {
      if (value === undefined) continue;
      const values = typeof value === "string" ? [value] : value;
      this.#values.set(name.toLowerCase(), [...(this.#values.get(name.toLowerCase()) ?? []), ...values]);
    }
  }

  get(name: string): string | undefined {
    const values = this.#values.get(name);
    if (values && values.length > 1) throw new WebhookError("malformed", `the header ${name} stands there ${values.length} times`);
    return values?.[0];
  }

  need(name: string): string {
    const value = this.get(name);
    if (value === undefined) throw new WebhookError("missing", `the header ${name} is missing`);
    return value;
  }
}

/** A header's bytes: runtimes hand them over as latin-1. */
function bytes(text: string): Uint8Array {
  return [...text].every((letter) => letter.charCodeAt(0) < 256) ? Uint8Array.from(text, (letter) => letter.charCodeAt(0)) : utf8(text);
}

/** Parts with a dot between each two. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength + 1, -1) + (parts.length ? 0 : 1));
  let at = 0;
  for (const [index, part] of parts.entries()) {
    if (index) whole[at++] = 0x2e;
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

async function anyEntry(keys: readonly Keys[], entries: string, message: Uint8Array): Promise<"standard" | "ed25519" | undefined> {
  for (const entry of entries.split(" ").slice(0, MAX_ENTRIES)) {
    const comma = entry.indexOf(",");
    const signature = comma < 0 ? undefined : unbase64(entry.slice(comma + 1), true);
    const version = entry.slice(0, Math.max(comma, 0));
    if (!signature) continue;
    for (const key of keys) {
      if (version === "v1" && (await key.standard?.(signature, message))) return "standard";
      if (version === "v1a" && (await key.ed25519?.(signature, message))) return "ed25519";
    }
  }
  return undefined;
}

async function matches(keys: readonly Keys[], signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  for (const accepts of keys.flatMap((key) => key.hook0)) if (await accepts(signature, message)) return true;
  return false;
}

function hook0Parts(value: string): { t: string; h: string; v1: string } {
  const parts = new Map<string, string>();
  for (const part of value.split(",")) {
    const equals = part.indexOf("=");
    const name = part.slice(0, Math.max(equals, 0)).trim();
    if (equals < 0) throw new WebhookError("malformed", "X-Hook0-Signature: a part has no `=`");
    if (parts.has(name) && ["t", "h", "v0", "v1"].includes(name)) throw new WebhookError("malformed", `X-Hook0-Signature: ${name} stands there twice`);
    parts.set(name, part.slice(equals + 1));
  }
  const [t, h, v1] = ["t", "h", "v1"].map((name) => parts.get(name));
  if (t === undefined || h === undefined || v1 === undefined) throw new WebhookError("malformed", "X-Hook0-Signature: t, h or v1 is missing");
  return { t, h, v1 };
}

function unhex(digits: string): Uint8Array {
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) throw new WebhookError("malformed", "X-Hook0-Signature: the signature is not hex");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function unbase64(text: string, padded: boolean): Uint8Array | undefined {
  const whole = padded ? text : text + "=".repeat((4 - (text.length % 4)) % 4);
  if (whole.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(whole)) return undefined;
  return Uint8Array.from(atob(whole), (letter) => letter.charCodeAt(0));
}

interface Secret {
  hmac: Uint8Array[];
  standard?: Uint8Array;
  ed25519?: Uint8Array;
}

/** The keys of a secret's text. Its text is in no error. */
function read(secret: string): Secret {
  const text = typeof secret === "string" ? secret.trim() : "";
  if (!text) throw new TypeError("a secret is a text such as whsec_..., and not empty");
  if (/whsec_/i.test(text) && !text.startsWith("whsec_")) {
    throw new TypeError("a secret of this form begins with whsec_, in lower case and with nothing before it");
  }
  if (text.startsWith("whsk_")) throw new TypeError("this is a private key (whsk_...); a receiver verifies with the public one (whpk_...)");
  const decoded = (prefix: string, least: number, most: number): Uint8Array => {
    const key = unbase64(text.slice(prefix.length), false);
    if (!key) throw new TypeError(`what follows ${prefix} is no base64`);
    if (key.length < least || key.length > most) throw new TypeError(`${prefix} holds ${least} to ${most} bytes, not ${key.length}`);
    return key;
  };
  if (text.startsWith("whpk_")) return { hmac: [], ed25519: decoded("whpk_", 32, 32) };
  if (!text.startsWith("whsec_")) return { hmac: [utf8(text)], standard: utf8(text) };
  const standard = decoded("whsec_", 24, 64);
  // The key of X-Hook0-Signature is the secret's text; `signing_secret` of a generated one encodes that text.
  return { hmac: [utf8(text), standard], standard };
}

/** Node 18 has WebCrypto, though not as a global. Bundlers for browsers and edge workers refuse an import of a Node module that they can see. */
async function nodeCrypto(): Promise<Crypto> {
  const name = "node:crypto";
  return ((await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as { webcrypto: Crypto }).webcrypto;
}

/** `subtle.verify` compares in constant time. */
async function importKeys(secret: Secret): Promise<Keys> {
  const { subtle } = (globalThis.crypto as Crypto | undefined) ?? (await nodeCrypto());
  const verifier = async (algorithm: AlgorithmIdentifier | HmacImportParams, key: Uint8Array): Promise<Verifies> => {
    const imported = await subtle.importKey("raw", key as BufferSource, algorithm, false, ["verify"]);
    return (signature, message) => subtle.verify(algorithm, imported, signature as BufferSource, message as BufferSource);
  };
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const keys: Keys = { hook0: await Promise.all(secret.hmac.map((key) => verifier(hmac, key))) };
  if (secret.standard) keys.standard = await verifier(hmac, secret.standard);
  if (secret.ed25519) keys.ed25519 = await verifier({ name: "Ed25519" }, secret.ed25519);
  return keys;
}
