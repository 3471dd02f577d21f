// What TypeScript makes of the packages: this file is compiled, not run.
import { errors, Hook0, Hookbus, rawJson, type Job, type MessageResult, type ProblemCode, type Subscription } from "hookbus";
import { Webhook, type WebhookEvent } from "hookbus/webhooks";

const client: Hookbus = Hook0("token", { baseUrl: "http://127.0.0.1" });
export async function typed(request: Request): Promise<WebhookEvent> {
  const made: Subscription = await client.subscriptions.get({ subscription_id: "s" });
  for await (const { secret } of client.subscriptions.list({ application_id: made.application_id })) secret.toUpperCase();
  const results: MessageResult[] = await client.message.createMany("a", [{ event_type: "a.b", payload: rawJson("1") }]);
  for (const result of results) if (result.error) result.error.tries.toFixed(); else result.message.event_id.trim();
  const job: Job = await client.jobs.wait(await client.jobs.get({ job_id: "j" }), { progress: ({ counts }) => counts.written.toFixed() });
  try {
    await client.jobs.cancel(job);
  } catch (error) {
    if (error instanceof errors.NotFound) error.status.toFixed();
    else if (error instanceof errors.JobNotDone) error.job.state.trim();
    // @ts-expect-error an id that no problem has
    else if (error instanceof errors.ApiError) error.is("NoSuchProblem");
    if (error instanceof errors.Forbidden && error.code === "a_code_of_a_newer_server") return typed(request);
    const known: ProblemCode[] = ["idempotency_key_reused", "log_behind"];
    if (error instanceof errors.ApiError) error.hasCode(known[0] ?? "taken");
    // @ts-expect-error a code that no problem has
    if (error instanceof errors.ApiError) error.hasCode("no_such_code");
  }
  // @ts-expect-error a field that is required is missing
  await client.applications.create({ body: {} });
  // @ts-expect-error text is no body
  await new Webhook("s").verify("text", request.headers);
  return new Webhook(["a", "b"]).verify(await request.arrayBuffer(), request.headers);
}
