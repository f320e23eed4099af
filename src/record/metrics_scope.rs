//! Metrics for a caller that may see some routes only.
//!
//! It works on the text, so that a metric that is added later needs no care: a series without an allowed route is left
//! out.

use crate::model::route_scope::RouteScope;

/// Value of the label `route` for requests that matched no route.
pub(super) const NO_ROUTE: &str = "-";

/// Label that names the route of a series.
const LABEL: &str = "route";

/// Removes every series of the text that belongs to no route of the scope.
pub(super) fn limit_text(text: String, scope: &RouteScope) -> String {
    if !scope.is_limited() {
        return text;
    }
    let mut limited = String::with_capacity(text.len() / 2);
    for line in text.lines() {
        // Descriptions are the same for every gate.
        let is_description = line.starts_with('#');
        let is_visible = || {
            let route = find_label(line, LABEL);
            route.is_some_and(|route| route != NO_ROUTE && scope.contains(route))
        };
        if is_description || is_visible() {
            limited.push_str(line);
            limited.push('\n');
        }
    }
    limited
}

/// Returns the value of a label in the line of a series, if it needs no escapes. Names of routes never need them.
fn find_label<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = line.split_once('{')?.1;
    loop {
        let (name, after) = rest.split_once("=\"")?;
        // The value ends at the first quote without a backslash before it.
        let mut is_escaped = false;
        let end = after.find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        })?;
        let (value, behind) = after.split_at_checked(end)?;
        if name == wanted {
            return Some(value).filter(|value| !value.contains('\\'));
        }
        rest = behind.strip_prefix("\",")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a series of another route, of no route or of the whole gate is left, or one of the scope is lost.
    #[test]
    fn only_series_of_the_scope_stay() {
        let text = "# HELP a Requests.\n# TYPE a counter\na_total{route=\"shop-eu\",by=\"x\"} 1\n\
            a_total{route=\"other\",by=\"shop-eu\"} 2\na_total{by=\"route=\\\"shop-eu\\\"\",route=\"other\"} 3\n\
            a_total{by=\"\\\\\",route=\"shop-eu\"} 4\na_total{route=\"-\"} 5\nb 6\nc{name=\"shop-eu\"} 7\n# EOF\n";
        let limited = limit_text(text.to_owned(), &RouteScope::only(["shop-*"]));
        assert_eq!(
            limited,
            "# HELP a Requests.\n# TYPE a counter\na_total{route=\"shop-eu\",by=\"x\"} 1\n\
             a_total{by=\"\\\\\",route=\"shop-eu\"} 4\n# EOF\n"
        );
        let any = limit_text(text.to_owned(), &RouteScope::only(["*"]));
        assert!(!any.contains(" 5\n") && any.contains(" 2\n") && !any.contains("b 6"));
        assert_eq!(limit_text(text.to_owned(), &RouteScope::All), text);
    }
}
