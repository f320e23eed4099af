//! Style sheet, script and icon of the console, compiled into the program.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// Every asset: its name, media type and content.
const FILES: [(&str, &str, &str); 3] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/console.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Cache header of assets. The address contains a checksum of the content, so a copy never becomes stale.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = crc32fast::Hasher::new();
    for (_, _, content) in FILES {
        hasher.update(content.as_bytes());
    }
    format!("{:08x}", hasher.finalize())
});

/// Returns the checksum of all assets, for the `v` parameter of their addresses.
pub(super) fn version() -> &'static str {
    &VERSION
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(found, _, _)| *found == name) {
        Some((_, kind, content)) => {
            let fields = [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, FOR_EVER),
            ];
            (fields, *content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
