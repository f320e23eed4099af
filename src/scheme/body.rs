//! The whole body as a scheme reads it: its form fields and its JSON values, each parsed once, when first asked for.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::scheme::Head;
use crate::scheme::form::{self, FormField};
use crate::scheme::material::{self, MaterialFault};
use crate::scheme::pick::{PickError, Picked, Picker};
use crate::scheme::spec::Place;

/// The pointers that a scheme reads, joined.
pub(super) struct Pointers {
    picker: Picker,
    pointers: Vec<Vec<String>>,
}

impl Pointers {
    /// Joins them.
    pub(super) fn new(pointers: Vec<Vec<String>>) -> Self {
        Self {
            picker: Picker::new(pointers.iter().map(Vec::as_slice)),
            pointers,
        }
    }
}

/// A request that is there in whole.
pub(super) struct Whole<'r> {
    head: Head<'r>,
    body: &'r [u8],
    pointers: &'r Pointers,
    form: OnceCell<Result<Vec<FormField<'r>>, &'static str>>,
    json: OnceCell<Result<Vec<Picked<'r>>, PickError>>,
}

impl<'r> Whole<'r> {
    /// Nothing is parsed yet.
    pub(super) fn new(head: Head<'r>, body: &'r [u8], pointers: &'r Pointers) -> Self {
        Self {
            head,
            body,
            pointers,
            form: OnceCell::new(),
            json: OnceCell::new(),
        }
    }

    /// The head.
    pub(super) fn head(&self) -> &Head<'r> {
        &self.head
    }

    /// The raw body.
    pub(super) fn body(&self) -> &'r [u8] {
        self.body
    }

    /// The value in a place; none where there is none.
    ///
    /// # Errors
    /// Where it cannot be read for certain.
    pub(super) fn read(&self, place: &Place) -> Result<Option<Cow<'_, [u8]>>, MaterialFault> {
        match place {
            Place::Header(_) | Place::Query(_) => match material::read(&self.head, place) {
                Ok(value) => Ok(Some(value)),
                Err(MaterialFault::Missing { .. }) => Ok(None),
                Err(fault) => Err(fault),
            },
            Place::Form(_) if form::is_like_json(self.body) => Ok(None),
            Place::Form(name) => {
                let fields = self.form().map_err(|fault| place.malformed(fault))?;
                let value = form::one(fields, name).map_err(|fault| place.malformed(fault))?;
                Ok(value.map(|value| Cow::Borrowed(value.as_bytes())))
            }
            Place::Json(pointer) => match self.json(pointer) {
                Ok(Picked::Absent) => Ok(None),
                Ok(Picked::Text(text)) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
                Ok(Picked::Bool(true)) => Ok(Some(Cow::Borrowed(b"true"))),
                Ok(Picked::Bool(false)) => Ok(Some(Cow::Borrowed(b"false"))),
                Ok(Picked::Odd) => Err(place.malformed("is neither text nor integer")),
                Ok(Picked::Duplicate) => Err(place.malformed("stands twice")),
                Err(PickError::NotJson) => Ok(None),
                Err(PickError::Broken) => Err(place.malformed("stands in broken JSON")),
            },
        }
    }

    /// The fields of the form.
    pub(super) fn form(&self) -> Result<&[FormField<'r>], &'static str> {
        let fields = self
            .form
            .get_or_init(|| form::read(self.head.headers, self.body));
        fields.as_deref().map_err(|fault| *fault)
    }

    fn json(&self, pointer: &[String]) -> Result<&Picked<'r>, PickError> {
        let picked = self
            .json
            .get_or_init(|| self.pointers.picker.pick(self.body));
        let picked = picked.as_ref().map_err(|err| *err)?;
        let pointers = &self.pointers.pointers;
        let position = pointers.iter().position(|known| known == pointer);
        let found = position.and_then(|position| picked.get(position));
        Ok(found.unwrap_or(&Picked::Absent))
    }
}

impl Place {
    /// What is said of a value that is not as it should be.
    pub(super) fn malformed(&self, fault: &'static str) -> MaterialFault {
        MaterialFault::malformed(&self.name(), fault)
    }

    /// What is said where there is no value.
    pub(super) fn missing(&self) -> MaterialFault {
        MaterialFault::missing(&self.name())
    }
}
