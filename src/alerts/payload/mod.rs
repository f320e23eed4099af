//! Messages in the formats of chat services and programs.
//!
//! Sentences may contain text that an operator's file, an error or a sender chose. Each format makes it harmless: it
//! must neither be read as markup, nor mention anybody, nor become a link.

pub(super) mod discord;
pub(super) mod json;
pub(super) mod slack;
pub(super) mod teams;

#[cfg(test)]
mod tests;

/// Breaks up what a chat service would turn into a link or a mention, by a space of no width behind it.
fn unlinked(text: &str) -> String {
    text.replace("://", ":\u{200b}//").replace('@', "@\u{200b}")
}
