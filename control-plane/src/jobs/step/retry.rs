//! One more attempt of a delivery.

use delivery_log::{Coordinates, Day, Fact};
use schemas::delivery::{Again, MadeBy};
use schemas::identity::event_uuid;
use schemas::ids::{ApplicationId, DeliveryId};
use schemas::jobs::{JobDelivery, JobSkip};

use super::{JobPart, NotNow, StepOutcome, Steps, generation};
use crate::jobs::known::KnownJob;
use crate::problem::Problem;

impl Steps {
    /// See the module. It is made whether or not its subscription is enabled.
    pub(super) async fn retry(&self, job: &KnownJob, of: &JobDelivery) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let (asked, mut part) = (&job.definition, JobPart::of(job));
        part.progress.counts.found = 1;
        let (subscription, control_offset) = self.subscription(asked.application_id, of.subscription_id);
        let Some(subscription) = subscription else {
            part.skip(JobSkip::Deleted);
            return Ok(part.ended());
        };
        let at = Coordinates { partition: of.record.partition, offset: of.record.offset };
        let whose = (asked.application_id, of.delivery_id);
        let delivery = match self.delivery(whose, at).await? {
            Some(delivery) => Some(delivery),
            None => self.delivery_or_letter(whose, None, &self.history(whose).await?).await?,
        };
        let Some(delivery) = delivery else {
            part.skip(JobSkip::Expired);
            return Ok(part.ended());
        };
        let event = event_uuid(delivery.application, delivery.event_source(), delivery.event_id());
        if self.is_erased(event, delivery.accepted_ms).await? {
            part.skip(JobSkip::Erased);
            return Ok(part.ended());
        }
        let again = Again { is_once: true, ..generation(asked, MadeBy::Retry, control_offset) };
        match self.again(&delivery, &subscription, again) {
            Some(record) => part.deliver(record, subscription.id()),
            None => part.skip(JobSkip::TooLarge),
        }
        Ok(part.ended())
    }

    /// What the log says of a delivery.
    async fn history(&self, (application, id): (ApplicationId, DeliveryId)) -> Result<Vec<Fact>, NotNow> {
        let store = self.log.store().map_err(Problem::into_detail)?;
        let edition = self.log.edition().await.map_err(Problem::into_detail)?;
        // On which day it died is not known.
        let found = store.histories(application, vec![(id, Day::of(0))]).await.map_err(|error| error.to_string())?;
        if found.is_empty() && self.log.whole_edition().await.map_err(Problem::into_detail)? != Some(edition) {
            // Its day may not be there yet: that is no reason to call it expired.
            return Err("the delivery log is being made".to_owned());
        }
        Ok(found)
    }
}
