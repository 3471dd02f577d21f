// Hookbus from JavaScript: send events, manage subscriptions. The verifier is an entry of its own, `hookbus/webhooks`.
import { Sender, type Options } from "./core.js";
import { Messages } from "./messages.js";
import { Operations } from "./operations.js";

export type * from "./types.gen.js";
export type { Answer, CallOptions, Options } from "./core.js";
export type { RetryPolicy } from "./retry.js";
/** Every error of this package: a class per problem id, such as `errors.NotFound`, and what they are of. */
export * as errors from "./problems.js";
export type { Code as ProblemCode, ProblemId } from "./problems.js";
export { Aborted, ApiError, BadAnswer, CertificateRefused, ConnectionFailed, HookbusError, InvalidMessage, JobNotDone, NotModified, TimedOut } from "./errors.js";
export type { WaitOptions } from "./jobs.js";
export { rawJson, RawJson, type MessageIn, type MessageOut, type MessageResult } from "./messages.js";
export { Pages, type Page } from "./pages.js";
export { VERSION } from "./version.js";

class Client extends Operations {
  /** Sending events. */
  readonly message: Messages;

  constructor(token?: string, options: Options = {}) {
    const sender = new Sender(token, options);
    super(sender);
    this.message = new Messages(sender);
    // A client is shown by its address, not by each of its resources.
    Object.defineProperty(this, Symbol.for("nodejs.util.inspect.custom"), { value: () => `Hookbus(${sender.baseUrl})` });
  }
}

/** A client of Hookbus. */
export type Hookbus = Client;

/** Makes a client, with or without `new`. The token is of an application, of an organization, or the admin key; else `HOOKBUS_TOKEN`. */
export const Hookbus = function (token?: string, options?: Options): Client {
  return new Client(token, options);
} as unknown as { (token?: string, options?: Options): Hookbus; new (token?: string, options?: Options): Hookbus };
Object.defineProperty(Hookbus, "prototype", { value: Client.prototype });

export type Hook0 = Client;
export const Hook0 = Hookbus;
