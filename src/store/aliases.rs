//! Numbers of destinations that were named while the database could not be opened.

use crate::model::ids::{DestinationName, RouteName};

/// Destinations that were named while the database could not be opened. Each has a negative number, which maps to the
/// real one after the database is open.
#[derive(Default)]
pub(in crate::store) struct DestinationAliases {
    names: Vec<(RouteName, DestinationName)>,
    /// The real numbers, in the same order.
    real: Vec<i64>,
}

impl DestinationAliases {
    /// Returns the alias of a destination, a number below zero.
    pub(in crate::store) fn number(&mut self, route: &RouteName, name: &DestinationName) -> i64 {
        let mut known = self.names.iter();
        let place = known.position(|(one, other)| one == route && other == name);
        let place = place.unwrap_or_else(|| {
            self.names.push((route.clone(), name.clone()));
            self.names.len() - 1
        });
        // Real numbers start at 1, so negative ones never collide with them.
        -1 - i64::try_from(place).unwrap_or(i64::MAX - 1)
    }

    /// Returns the real number of an alias if it is known. A number that is not an alias is returned as it is.
    pub(in crate::store) fn resolve(&self, number: i64) -> i64 {
        if number >= 0 {
            return number;
        }
        let place = usize::try_from(-1 - number).unwrap_or(usize::MAX);
        self.real.get(place).copied().unwrap_or(number)
    }

    /// Returns the destinations that have no real number yet.
    pub(in crate::store) fn unsettled(&self) -> &[(RouteName, DestinationName)] {
        self.names.get(self.real.len()..).unwrap_or_default()
    }

    /// Adds the real numbers of the unsettled destinations, in their order.
    pub(in crate::store) fn settle(&mut self, real: impl IntoIterator<Item = i64>) {
        self.real.extend(real);
    }
}
