//! Texts for columns of PostgreSQL.

/// Writes NUL characters, which a text column cannot hold, as `\0`.
pub(super) fn without_nul(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\\0"),
        false => text,
    }
}
