// One event, as README.md shows it.
import { Event, Hook0Client } from "hook0-client";

const { HOOKBUS_URL, APPLICATION_ID, TOKEN } = process.env;
const client = new Hook0Client(`${HOOKBUS_URL}/`, APPLICATION_ID, TOKEN);
const event = new Event("billing.invoice.paid", '{"invoice": "in_1042"}', "application/json", { tenant: "acme" });
console.log(await client.sendEvent(event));
