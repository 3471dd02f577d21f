//! Who is in a group, asked of the broker that knows: the group's coordinator.
//!
//! rdkafka offers the question to all brokers for all of their groups alone (`fetch_group_list`). That one waits for each broker
//! that does not answer and fails then, whoever has answered; and where the coordinator fails to answer, an answer of another broker
//! that comes later hides it, so that a group full of members looks empty.

use std::ffi::{CString, c_char};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::ask::ask;
use super::{OK, text};
use crate::group::Member;

/// The members of a group, as its coordinator knows them; nobody, if there is no such group.
pub(crate) fn group_members(client: &NativeClient, group: &str, timeout: Duration) -> Result<Vec<Member>, Code> {
    let name = CString::new(group).map_err(|_nul| Code::InvalidArgument)?;
    let mut pointer: *const c_char = name.as_ptr();
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: the name is copied before the call returns; the event is this question's.
    unsafe {
        let send = |options, queue| {
            sys::rd_kafka_DescribeConsumerGroups(client.ptr(), &raw mut pointer, 1, options, queue);
        };
        ask(client, operation, (timeout, false), send, |event| read_members(event))
    }
}

unsafe fn read_members(event: *mut sys::rd_kafka_event_t) -> Result<Vec<Member>, Code> {
    // SAFETY: the event is the answer to DescribeConsumerGroups and stays alive; every count comes with its array.
    unsafe {
        let described = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        if described.is_null() {
            return Err(Code::Fail);
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(described, &raw mut count);
        let mut members = Vec::new();
        for index in 0..count {
            let group = *groups.add(index);
            let code = sys::rd_kafka_error_code(sys::rd_kafka_ConsumerGroupDescription_error(group));
            if code != OK && Code::from(code) != Code::GroupIdNotFound {
                return Err(Code::from(code));
            }
            for index in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group) {
                let member = sys::rd_kafka_ConsumerGroupDescription_member(group, index);
                members.push(Member {
                    client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                    host: text(sys::rd_kafka_MemberDescription_host(member)).trim_start_matches('/').to_owned(),
                });
            }
        }
        Ok(members)
    }
}
