// A delivery, signed as the server signs.
import { createHmac } from "node:crypto";

export const SECRET = "62268c7e-5fae-4c86-8a9f-f4c95da3a93b";

export function delivery(body, id = "evt_1") {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", SECRET).update(`${id}.${timestamp}.`).update(body).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}`, "content-type": "application/json" };
}
