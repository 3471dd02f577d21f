//! How a subscription is doing.

use std::sync::Arc;

use axum::extract::State;
use catalog::Subscription;
use http::StatusCode;
use schemas::ids::OrganizationId;
use schemas::problem::Code;
use tracing::debug;

use crate::api::addressed::Addressed;
use crate::api::json;
use crate::log::health::{self, LoggedHealth};
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::subscription::health::{HealthShown, health as make_health};

/// Read how a subscription is doing
///
/// Its circuit, what waits for it and how its requests ended lately, as the delivery workers tell it: see `as_of`. What nobody
/// tells is null, or `unknown`; it is never shown as zero. What happened before is out of the delivery log, where there is one.
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{subscription_id}/health", operation_id = "subscriptions.health",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
        ("window" = Option<String>, Query, description = "How far back requests are counted, `5m` to `7d`; `1h` by default", pattern = "^[1-9][0-9]{0,4}[mhd]$", nullable = false),
    ),
    responses((status = 200, description = "How it is doing", body = HealthShown)),
)]
pub(in crate::api) async fn health(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let Addressed { principal, id, .. } = asked;
    let subscription = principal.subscription(&app.catalog().read(), &id, query.get("application_id"))?;
    let window_ms = window_ms(query.get("window"))?;
    let now_ms = chassis::clock::now_ms();
    let known = app.health().of(subscription.id(), now_ms);
    let held = app.health().held(subscription.id()).known();
    let shown = make_health(&subscription, known, held, now_ms);
    let organization = principal.who.organization(&app.catalog().read());
    let shown = match logged(&app, organization, &subscription, (window_ms, now_ms)).await {
        Some(logged) => shown.with_log(logged),
        None => shown,
    };
    json(StatusCode::OK, &shown)
}

/// What the delivery log says; `None`: there is none, or it does not answer now, and what the lane says is told all the same.
async fn logged(
    app: &App,
    organization: Option<OrganizationId>,
    subscription: &Subscription,
    times: (i64, i64),
) -> Option<LoggedHealth> {
    let store = app.log().store().ok()?;
    let _turn = app.turns().log.take(organization).await.ok()?;
    let whose = (subscription.application(), subscription.id());
    health::logged(store.as_ref(), whose, times, &app.log().held_letters())
        .await
        .inspect_err(|error| debug!(%error, "no health out of the log"))
        .ok()
}

/// `5m`, `2h`, `7d` as ms.
fn window_ms(text: Option<&str>) -> Result<i64, Problem> {
    const MINUTE: i64 = 60_000;
    let Some(text) = text else { return Ok(60 * MINUTE) };
    let units = [('m', MINUTE), ('h', 60 * MINUTE), ('d', 24 * 60 * MINUTE)];
    let read = |(unit, ms): (char, i64)| {
        let digits = text.strip_suffix(unit).filter(|it| it.len() <= 5 && it.bytes().all(|it| it.is_ascii_digit()))?;
        Some(digits.parse::<i64>().ok()? * ms)
    };
    let found = units.into_iter().find_map(read).filter(|ms| (5 * MINUTE..=7 * 24 * 60 * MINUTE).contains(ms));
    found.ok_or_else(|| Problem::field("window", Code::InvalidField, "must be 5m to 7d: minutes, hours or days"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_five_minutes_to_seven_days() {
        let read = |text| window_ms(Some(text)).map_err(|problem| problem.status);
        assert_eq!(window_ms(None).unwrap(), 3_600_000);
        assert_eq!(
            [read("5m"), read("90m"), read("24h"), read("7d")],
            [300_000, 5_400_000, 86_400_000, 604_800_000].map(Ok)
        );
        for bad in ["4m", "8d", "169h", "", "m", "1w", "1", "-5m", "+5m", "99999d", "999999m"] {
            assert_eq!(read(bad), Err(422), "{bad}");
        }
    }
}
