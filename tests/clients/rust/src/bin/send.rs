//! One event, as README.md shows it.
use std::env::var;

use hook0_client::{Event, Hook0Client};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let client = Hook0Client::new(var("HOOKBUS_URL")?.parse()?, var("APPLICATION_ID")?.parse()?, &var("TOKEN")?)?;
    let event = Event {
        event_type: "billing.invoice.paid",
        payload: r#"{"invoice": "in_1042"}"#.into(),
        payload_content_type: "application/json",
        labels: vec![("tenant".into(), "acme".into())],
        event_id: None,
        metadata: None,
        occurred_at: None,
    };
    println!("{}", client.send_event(&event).await?);
    Ok(())
}
