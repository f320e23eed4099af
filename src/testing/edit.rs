//! Changes single values in the JSON body of an event.

use serde_json::Value;

use crate::net::request_file::RequestFile;
use crate::testing::error::TestingError;
use crate::testing::shape;

/// Sets a value in an event's JSON body, at a JSON pointer or a path with dots. A value that is not JSON is text.
///
/// # Errors
/// The body is not JSON, or the path leads through a value that is neither an object nor an array.
pub fn set(event: &mut RequestFile, path: &str, value: &str) -> Result<(), TestingError> {
    let mut document: Value = serde_json::from_slice(&event.body)
        .map_err(|_| TestingError::Set(format!("cannot set `{path}`: the body is not JSON")))?;
    // `500` is a number, and `abc` is text without quotes, as a user types it.
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    let pointer: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer
            .split('/')
            // This order matters: `~01` means `~1`, not `/` (RFC 6901, section 4).
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
        None => path.split('.').map(str::to_owned).collect(),
    };
    if !shape::put(&mut document, &pointer, value) {
        let fault = format!(
            "cannot set `{path}`: it leads through a value that is neither an object nor an array"
        );
        return Err(TestingError::Set(fault));
    }
    event.body = document.to_string().into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn values_are_set_by_path_and_by_pointer() {
        let mut event = RequestFile::new(
            Method::POST,
            "/",
            r#"{"data":{"object":{"amount":1}},"list":[1]}"#.into(),
        );
        set(&mut event, "data.object.amount", "500").unwrap();
        set(&mut event, "/data/a~1b", "x").unwrap();
        set(&mut event, "list.0", "null").unwrap();
        let found: Value = serde_json::from_slice(&event.body).unwrap();
        let wanted =
            serde_json::json!({"data": {"object": {"amount": 500}, "a/b": "x"}, "list": [null]});
        assert_eq!(found, wanted);
        assert!(set(&mut event, "data.object.amount.cents", "1").is_err());
    }
}
