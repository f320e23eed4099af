//! Client certificates of routes: reading their authorities and revocation lists again, and reporting lists that end.

use tracing::Level;

use crate::app::running_gate::RunningGate;
use crate::client_certs::{ClientCertError, RefreshOutcome};
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::model::ids::RouteName;

impl RunningGate {
    /// Reads the authorities and lists of all routes again where they have changed. Those in use stay if the new ones are
    /// invalid.
    pub(super) async fn renew_client_certs(&self) {
        let generation = self.generation.load_full();
        let refresh = move || {
            let mut outcomes = Vec::new();
            for compiled in generation.routes.iter() {
                let route = compiled.rules.route();
                if let Some(rule) = &route.client_cert {
                    outcomes.push((route.name.clone(), rule.refresh(), rule.crl_until()));
                }
            }
            outcomes
        };
        // Lists have up to some MiB, whose parsing would hold up the requests on this worker.
        let Ok(outcomes) = tokio::task::spawn_blocking(refresh).await else {
            return;
        };
        let now = ClockReading::read().unix_seconds();
        for (route, outcome, until) in outcomes {
            self.report_refresh(&route, outcome);
            let is_over = until.is_some_and(|until| until < now);
            let mut reported = self.reported_lists.lock();
            if !is_over {
                reported.ended.remove(&route);
            } else if reported.ended.insert(route.clone()) {
                drop(reported);
                let message = "a revocation list is past its end, so every client of the route is refused: fetch the current list, or set `expired_crl = \"accept\"`";
                self.log(Level::ERROR, message, |line| {
                    line.text("route", &route);
                });
            }
        }
    }

    fn report_refresh(&self, route: &RouteName, outcome: Result<RefreshOutcome, ClientCertError>) {
        let mut reported = self.reported_lists.lock();
        match outcome {
            Ok(RefreshOutcome::Unchanged) => {
                reported.failed.remove(route);
            }
            Ok(RefreshOutcome::Changed) => {
                reported.failed.remove(route);
                drop(reported);
                let message = "authorities and revocation lists of client certificates reloaded";
                self.log(Level::INFO, message, |line| {
                    line.text("route", route);
                });
            }
            Err(error) if reported.failed.insert(route.clone()) => {
                drop(reported);
                let message = "authorities or revocation lists of client certificates rejected, the previous ones stay in use";
                self.log(Level::ERROR, message, |line| {
                    line.text("route", route).message("error", &chain(&error));
                });
            }
            Err(_) => {}
        }
    }
}
