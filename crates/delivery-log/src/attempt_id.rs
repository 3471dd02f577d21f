//! The id of an attempt: its delivery's, with version 8 and the attempt's number in the last 16 bits, so that an attempt has its
//! id before it is made, and the delivery is found by it.

use schemas::ids::DeliveryId;
use uuid::Uuid;

/// The id of an attempt. Numbers from 65,536 on do not occur: no schedule is so long.
#[must_use]
pub fn attempt_id(delivery: DeliveryId, attempt: u32) -> Uuid {
    let mut bytes = delivery.0.into_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[14..].copy_from_slice(&u16::try_from(attempt).unwrap_or(u16::MAX).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// What of its delivery's id an attempt's id tells, and the attempt's number. `None`: it is no attempt's id.
#[must_use]
pub fn delivery_prefix(attempt_id: Uuid) -> Option<([u8; 14], u32)> {
    let mut bytes = attempt_id.into_bytes();
    if bytes[6] >> 4 != 8 {
        return None;
    }
    // Delivery ids are made of names.
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    let attempt = u32::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let mut prefix = [0; 14];
    prefix.copy_from_slice(&bytes[..14]);
    (attempt > 0).then_some((prefix, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_tells_its_delivery_and_its_number() {
        let delivery = DeliveryId("52f6ef72-e1ab-5fb5-9c1c-b2f3b1ff34ed".parse().unwrap());
        let id = attempt_id(delivery, 3);
        assert_eq!(id.to_string(), "52f6ef72-e1ab-8fb5-9c1c-b2f3b1ff0003");
        let (prefix, attempt) = delivery_prefix(id).unwrap();
        assert_eq!((&prefix[..], attempt), (&delivery.0.as_bytes()[..14], 3));
        assert_eq!(delivery_prefix(delivery.0), None);
        assert_eq!(delivery_prefix(attempt_id(delivery, 0)), None);
    }
}
