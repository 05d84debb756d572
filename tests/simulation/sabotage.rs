//! What can be taken out of the farm to see that the promises then break.

/// One wall less.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sabotage {
    /// COMMANDS is fenced by the builder's subject alone.
    FenceBySubject,
    /// Messages of a batch name predicted sequences, and not the message before them.
    BatchUnchained,
    /// A slave that dies forgets what it decided.
    JournalLost,
    /// Slaves decide again what they have decided.
    ReplaysPass,
    /// Slaves start what their owner holds back.
    OwnerIgnored,
    /// Masters send a slave more than it takes.
    CapacityIgnored,
    /// Masters do not take in what was reported a while ago.
    LateReportsDropped,
    /// A retry does not say which request it answers, so whoever looks for that finds it twice or never.
    RequestsForgotten,
}
