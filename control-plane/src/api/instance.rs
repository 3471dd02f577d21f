//! What a client asks before it has a token: the instance, its quotas, its errors.

use http::StatusCode;
use schemas::problem::ALL;
use schemas::problem::Problem;
use serde_json::json;

use super::{UNLIMITED, json};
use crate::problem::Answer;

pub(super) async fn instance() -> Answer {
    json(
        StatusCode::OK,
        &json!({
            "application_secret_compatibility": true,
            "auto_db_migration": false,
            "biscuit_public_key": "",
            "password_minimum_length": 12,
            "quota_enforcement": false,
            "registration_disabled": true,
            "support_email_address": "",
        }),
    )
}

pub(super) async fn quotas() -> Answer {
    json(
        StatusCode::OK,
        &json!({
            "enabled": false,
            "limits": {
                "global_applications_per_organization_limit": UNLIMITED,
                "global_days_of_events_retention_limit": UNLIMITED,
                "global_event_types_per_application_limit": UNLIMITED,
                "global_events_per_day_limit": UNLIMITED,
                "global_members_per_organization_limit": UNLIMITED,
                "global_subscriptions_per_application_limit": UNLIMITED,
            },
        }),
    )
}

pub(super) async fn errors() -> Answer {
    let problems: Vec<Problem> = ALL.iter().map(|id| Problem::new(*id, id.title())).collect();
    json(StatusCode::OK, &problems)
}

pub(super) async fn payload_content_types() -> Answer {
    json(StatusCode::OK, &["application/json", "text/plain", "application/octet-stream+base64"])
}
