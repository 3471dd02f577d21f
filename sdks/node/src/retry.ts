// Whether and when a call is sent again: decided from what came back, without a clock or a socket. Of all 429 only `RateLimited`
// is worth a repeat, and one time bounds all tries together with the pauses between them.

/** How long a call may take, in milliseconds. */
export interface RetryPolicy {
  /** All tries and pauses together; 0 means a single try. */
  totalMs: number;
  /** One try, from connecting to the last byte of the answer. */
  perTryMs: number;
  /** The pause after the first try; each is twice the one before, less up to half at random. */
  firstMs: number;
  /** The longest pause. */
  longestMs: number;
}

export const POLICY: RetryPolicy = { totalMs: 30_000, perTryMs: 10_000, firstMs: 200, longestMs: 5_000 };

/** Milliseconds until the next try, or nothing if its time would be over. Never less is waited than `askedMs`, what `Retry-After` says. */
export function pause(policy: RetryPolicy, tries: number, elapsedMs: number, askedMs: number, random: () => number): number | undefined {
  const grown = Math.min(policy.longestMs, policy.firstMs * 2 ** Math.min(tries - 1, 30));
  const wait = Math.max(grown * (1 - random() / 2), askedMs);
  return elapsedMs + wait < policy.totalMs ? wait : undefined;
}

/** Seconds that a `Retry-After` asks for, given as seconds or as a date. `nowMs` is unix time. */
export function retryAfter(value: string | null, nowMs: number): number | undefined {
  const text = (value ?? "").trim();
  if (/^\d+$/.test(text)) return Number(text.slice(0, 9));
  const at = /[A-Za-z]/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, (at - nowMs) / 1000);
}
