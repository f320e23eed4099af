//! Alternative names of headers: requests that use them are read under the scheme's own names.

use http::{HeaderMap, HeaderName};

use crate::scheme::material_fault::MaterialFault;
use crate::scheme::spec::family::SchemeSpec;

/// Names of a scheme's headers in both families.
pub struct HeaderFamilies {
    own_prefix: Box<str>,
    other_prefix: Box<str>,
    /// Own name and alternative name of each header that the scheme reads.
    pairs: Box<[(HeaderName, HeaderName)]>,
}

impl HeaderFamilies {
    /// Returns the families of a scheme's headers; `None` if there is only one.
    pub fn new(spec: &SchemeSpec) -> Option<Self> {
        let (own, other) = spec.variants.prefixes.as_ref()?;
        let names = spec.own_headers().into_iter();
        let pairs = names.filter_map(|name| {
            let other = spec.variants.other_name(&name)?;
            Some((name, other))
        });
        Some(Self {
            own_prefix: own.as_str().into(),
            other_prefix: other.as_str().into(),
            pairs: pairs.collect(),
        })
    }

    /// Returns the headers under the scheme's own names if the sender used the alternative ones; `None` if it used the
    /// own names.
    ///
    /// A request must use one family. Then the signed id is also the one that identifies the event, and no unsigned
    /// header of the other family can replace it.
    ///
    /// # Errors
    /// Returns an error if a request has headers of both families that are not copies of each other.
    pub fn own_names(&self, headers: &HeaderMap) -> Result<Option<Box<HeaderMap>>, MaterialFault> {
        let mut only_own = None;
        let mut only_other = None;
        for (own, other) in &self.pairs {
            match (headers.contains_key(own), headers.contains_key(other)) {
                (false, false) => {}
                (true, false) => only_own = Some(own),
                (false, true) => only_other = Some(other),
                // Some senders send both families with the same values.
                (true, true) if are_equal(headers, own, other) => {}
                (true, true) => {
                    let fault = "differs from the header with the same meaning";
                    return Err(MaterialFault::malformed(other.as_str(), fault));
                }
            }
        }
        match (only_own, only_other) {
            (_, None) => Ok(None),
            (Some(_), Some(other)) => {
                let fault = "is mixed with headers of another family";
                Err(MaterialFault::malformed(other.as_str(), fault))
            }
            // The copy is made only for requests that use the alternative names.
            (None, Some(_)) => Ok(Some(Box::new(self.renamed(headers)))),
        }
    }

    /// Keeps only the scheme's own names, so that a new signature is not mixed with headers of the alternative family.
    pub fn settle(&self, headers: &mut HeaderMap) {
        if let Ok(Some(renamed)) = self.own_names(headers) {
            *headers = *renamed;
        }
        for (_, other) in &self.pairs {
            headers.remove(other);
        }
    }

    fn renamed(&self, headers: &HeaderMap) -> HeaderMap {
        let mut renamed = headers.clone();
        for (name, value) in headers {
            let rest = name.as_str().strip_prefix(&*self.other_prefix);
            // A header under an own name wins: the alternative name must not add a second value to it.
            let own = rest.and_then(|rest| format!("{}{rest}", self.own_prefix).parse().ok());
            if let Some(own) = own.filter(|own: &HeaderName| !headers.contains_key(own)) {
                renamed.append(own, value.clone());
            }
        }
        renamed
    }
}

fn are_equal(headers: &HeaderMap, one: &HeaderName, other: &HeaderName) -> bool {
    headers
        .get_all(one)
        .iter()
        .eq(headers.get_all(other).iter())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::providers;

    fn families() -> HeaderFamilies {
        HeaderFamilies::new(&providers::find("svix").unwrap().scheme).unwrap()
    }

    fn own_names(pairs: &[(&'static str, &'static str)]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let found = families().own_names(&headers);
        let found = found.map_err(|fault| format!("{fault:?}"))?;
        Ok(found.map(|headers| {
            let names = ["svix-id", "svix-timestamp", "svix-signature", "svix-more"];
            let values = names.map(|name| {
                let values = headers.get_all(name).iter();
                let texts: Vec<&str> = values.map(|value| value.to_str().unwrap()).collect();
                texts.join("+")
            });
            values.join(" ")
        }))
    }

    const OWN: [(&str, &str); 3] = [
        ("svix-id", "a"),
        ("svix-timestamp", "1"),
        ("svix-signature", "s"),
    ];
    const OTHER: [(&str, &str); 3] = [
        ("webhook-id", "a"),
        ("webhook-timestamp", "1"),
        ("webhook-signature", "s"),
    ];

    #[test]
    fn a_request_has_the_headers_of_one_family() {
        assert_eq!(own_names(&OWN), Ok(None));
        assert_eq!(own_names(&[]), Ok(None));
        assert_eq!(own_names(&[&OWN[..], &OTHER].concat()), Ok(None));
        assert_eq!(own_names(&OTHER), Ok(Some("a 1 s ".to_owned())));
        let more = [&OTHER[..], &[("webhook-more", "m"), ("webhook-id", "b")]].concat();
        assert_eq!(own_names(&more), Ok(Some("a+b 1 s m".to_owned())));
    }

    #[test]
    fn settled_headers_are_of_the_own_family() {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("a"));
        headers.insert("x-other", HeaderValue::from_static("b"));
        families().settle(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["svix-id", "x-other"]);
    }

    // Fails if an unsigned header of one family can replace the signed one of the other.
    #[test]
    fn mixed_families_are_refused() {
        for at in 0..3 {
            let mut mixed = OWN.to_vec();
            mixed[at] = OTHER[at];
            assert!(own_names(&mixed).is_err(), "{mixed:?}");
            for (set, name) in [(&OWN, OTHER[at].0), (&OTHER, OWN[at].0)] {
                let added = [&set[..], &[(name, "x")]].concat();
                assert!(own_names(&added).is_err(), "{added:?}");
            }
        }
        assert_eq!(
            own_names(&[&OWN[..], &[("webhook-id", "a")]].concat()),
            Ok(None)
        );
        let twice = [("webhook-id", "a"), ("webhook-id", "a")];
        assert!(own_names(&[&OWN[..], &twice].concat()).is_err());
    }
}
