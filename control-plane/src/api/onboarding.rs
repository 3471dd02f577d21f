//! Whether events have come: the one step of getting started that the delivery log knows.

use delivery_log::Day;
use schemas::ids::ApplicationId;
use tracing::debug;

use super::applications::OnboardingStep;
use crate::auth::Principal;
use crate::state::App;

/// Applications of an organization that are looked at.
pub(super) const APPLICATIONS: usize = 100;

/// Done where the log has counted an event of one of these. Where there is no log, or it does not answer now, it is not known to be.
pub(super) async fn event(app: &App, principal: &Principal, applications: Vec<ApplicationId>) -> OnboardingStep {
    OnboardingStep::done(is_counted(app, principal, applications).await.unwrap_or(false))
}

async fn is_counted(app: &App, principal: &Principal, applications: Vec<ApplicationId>) -> Option<bool> {
    if applications.is_empty() {
        return None;
    }
    let store = app.log().store().ok()?;
    let organization = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().log.take(organization).await.ok()?;
    let counted = store.accepted(applications, Day::of(0), Day::of(chassis::clock::now_ms())).await;
    let counted = counted.inspect_err(|error| debug!(%error, "whether events have come is not out of the log")).ok()?;
    Some(counted.values().any(|count| *count > 0))
}
