//! The configuration, read again while the master runs: all of it counts from one decision to the next, or nothing.

use std::sync::Arc;

use super::lead::Role;
use super::{Done, Running};
use crate::bus::{Delivery, Stream};
use crate::master::config::MasterConfig;
use crate::master::control::ReloadDocument;
use crate::model::Digest;

/// Reads and checks the configuration again, with its SHA-256; or says every mistake.
pub type Reread = dyn Fn() -> Result<(MasterConfig, Digest), Vec<String>>;

impl Running<'_> {
    /// Reads the configuration again. On any mistake everything goes on by the old one.
    pub(super) fn reload(&mut self) -> ReloadDocument {
        match self.read_again() {
            Ok(differences) => {
                tracing::info!(%differences, "configuration read again");
                ReloadDocument {
                    applied: true,
                    differences,
                    mistakes: Vec::new(),
                }
            }
            Err(mistakes) => {
                for mistake in &mistakes {
                    tracing::error!(
                        code = "E-CONFIG",
                        mistake,
                        "the configuration was not taken over; everything goes on by the old one"
                    );
                }
                ReloadDocument {
                    applied: false,
                    differences: String::new(),
                    mistakes,
                }
            }
        }
    }

    fn read_again(&mut self) -> Result<String, Vec<String>> {
        let (new, digest) = (self.master.reread)()?;
        let old = Arc::clone(&self.life.config);
        let fixed = old.fixed_differences(&new);
        if !fixed.is_empty() {
            let needs =
                |key: &&str| format!("{key}: cannot change while the master runs; restart it");
            return Err(fixed.iter().map(needs).collect());
        }
        let requesters = new.requesters.iter();
        let requesters = requesters.map(|(name, requester)| (name, requester.key));
        if let Err(error) = self.reader.let_ask(requesters) {
            return Err(vec![format!("requesters: {error}")]);
        }
        let differences = old.differences(&new);
        let other = self.life.digest != digest;
        self.life.config = Arc::new(new);
        self.life.digest = digest;
        self.attendance.set_patience(self.life.config.silence);
        if let Role::Leads(leadership) = &mut self.role {
            leadership
                .watchers
                .follow(&self.life.config, &self.scheduler);
            self.orders.lead_again |= other;
        }
        if !differences.requesters.is_empty() {
            self.read_requests_again();
        }
        if self.role.leads() && !differences.builders.is_empty() {
            self.name_the_unserved();
        }
        Ok(if differences.is_empty() {
            "nothing that counts has changed".to_owned()
        } else {
            differences.to_string()
        })
    }

    /// What was asked by somebody who was not known yet counts as if it came now.
    fn read_requests_again(&mut self) {
        self.told.clear();
        let bus = self.herald.bus.clone();
        self.errands.spawn(async move {
            match bus.read_all(Stream::Requests, ">", 1).await {
                Ok(held) => Done::Requests(held),
                Err(error) => {
                    tracing::warn!(%error, "earlier requests of new requesters are not known before the next start");
                    Done::Nothing
                }
            }
        });
    }

    pub(super) fn end_reading_requests(&mut self, held: &[Delivery]) {
        for delivery in held {
            self.take(Stream::Requests, delivery);
        }
    }
}
