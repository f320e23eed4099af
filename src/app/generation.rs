//! What one config makes: the gate with its rules, and where each route forwards to. Built whole before it is swapped in,
//! so that a config that cannot be built changes nothing.

use crate::app::StartError;
use crate::app::state::State;
use crate::config::model::Config;
use crate::forward::Targets;
use crate::gate::Gate;
use crate::gate::route::RouteTable;
use crate::gate::rules::Rules;
use crate::net::client::Client;
use crate::pipeline::Generation;
use crate::record::Recorder;

pub(super) fn build(
    config: Config,
    client: &Client,
    recorder: &Recorder,
    state: &State,
) -> Result<Generation, StartError> {
    let table = RouteTable::build(&config.routes);
    let mut rules = Vec::with_capacity(config.routes.len());
    let mut routes = Vec::with_capacity(config.routes.len());
    for route in config.routes {
        let name = route.name.clone();
        let target = Targets::build(&route, client).map_err(|source| StartError::Upstream {
            route: name.clone(),
            source,
        })?;
        routes.push((target, recorder.route_counters(&name)));
        let provider_ips = state.provider_ips(&route);
        let (claims, limiter) = (state.claims(&name), state.limiter(&name));
        let compiled = Rules::compile(route, claims, limiter, provider_ips);
        rules.push(compiled.map_err(|source| StartError::Scheme {
            route: name,
            source,
        })?);
    }
    Ok(Generation {
        gate: Gate::new(
            table,
            rules,
            state.sources(),
            state.keys(),
            config.server.body_timeout,
        ),
        routes,
        health: config.server.health,
        max_in_flight: config.server.max_in_flight,
    })
}
