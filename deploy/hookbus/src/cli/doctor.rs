//! `hookbus doctor`: whether this configuration, this host and this Kafka can work together.

use clap::Args;

use super::fanout::OnlyIntake;
use super::manage::Output;

pub(crate) const DOCTOR_HELP: &str = "\
Examples:
  hookbus doctor
  hookbus doctor --role delivery
  hookbus doctor --for-topics
  hookbus doctor --target https://hooks.example.com/in --output json

Ends with 0 if all is well, 1 if something is not, 64 if the configuration cannot be used. `hookbus explain CODE` says what to do.
It changes nothing: what it writes is in one transaction that is aborted.";

/// `hookbus doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look whether this principal may do what the role needs: gateway, fanout, delivery, retry, control or operator, who creates
    /// topics. Without it: the operator.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// With `--role fanout`: only what a process needs that runs this intake alone.
    #[arg(long, value_enum, value_name = "INTAKE", requires = "role")]
    pub(crate) only: Option<OnlyIntake>,
    /// Only what has to be right before topics are created.
    #[arg(long)]
    pub(crate) for_topics: bool,
    /// Say what the guard makes of this target. Nothing is sent to it.
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}
