//! A field of a form.

use std::borrow::Cow;

/// A form field: name and value, unescaped.
pub type FormField<'b> = (Cow<'b, str>, Cow<'b, str>);
