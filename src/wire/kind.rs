//! The kinds of message, and who may sign each.

use std::fmt;

/// Who signs a kind of message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The offline master keys.
    Master,
    /// The master process's signing key.
    Signing,
    /// A slave's own report key.
    Report,
    /// The key of somebody whom the master's configuration lets ask.
    Requester,
}

/// A kind of message. It stands in the content type and in the signed context, so that one kind never passes as another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// The list of keys in force.
    Keyring,
    /// The list of slaves.
    Roster,
    /// How new everything is.
    Head,
    /// A master took the lead.
    Lead,
    /// A branch moved.
    Change,
    /// Build, or cancel.
    Command,
    /// What a slave says of a build.
    Report,
    /// A piece of a log.
    Log,
    /// A slave's sign of life.
    Presence,
    /// A project has released a version.
    Release,
    /// Somebody asks the master for something.
    Request,
    /// What the master says to that.
    Answer,
    /// The leading master's sign of life.
    Lease,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Keyring,
        Self::Roster,
        Self::Head,
        Self::Lead,
        Self::Change,
        Self::Command,
        Self::Report,
        Self::Log,
        Self::Presence,
        Self::Release,
        Self::Request,
        Self::Answer,
        Self::Lease,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Roster => "roster",
            Self::Head => "head",
            Self::Lead => "lead",
            Self::Change => "change",
            Self::Command => "command",
            Self::Report => "report",
            Self::Log => "log",
            Self::Presence => "presence",
            Self::Release => "release",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Lease => "lease",
        }
    }

    /// The content type in the protected header.
    #[must_use]
    pub fn content_type(self) -> String {
        format!("application/vnd.pybots.{}.v1+cbor", self.name())
    }

    /// The kind with that content type.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.content_type() == content_type)
    }

    /// Who signs it.
    #[must_use]
    pub fn signer(self) -> Role {
        match self {
            Self::Keyring => Role::Master,
            Self::Roster
            | Self::Head
            | Self::Lead
            | Self::Change
            | Self::Command
            | Self::Release
            | Self::Answer
            | Self::Lease => Role::Signing,
            Self::Request => Role::Requester,
            Self::Report | Self::Log | Self::Presence => Role::Report,
        }
    }

    /// Largest message of this kind, envelope included, in bytes.
    #[must_use]
    pub fn max_len(self) -> usize {
        match self {
            Self::Command | Self::Request => 16 * 1024,
            Self::Head | Self::Lead | Self::Release | Self::Lease => 1024,
            Self::Answer => 4 * 1024,
            Self::Keyring | Self::Change | Self::Report | Self::Log | Self::Presence => 64 * 1024,
            // Lines are never removed; about 250 bytes each, so some 3,000 slaves, within NATS's own 1 MiB.
            Self::Roster => 768 * 1024,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
