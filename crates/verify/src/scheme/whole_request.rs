//! The whole body of a request, with its form fields and JSON values parsed on first use.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::scheme::form;
use crate::scheme::form_field::FormField;
use crate::scheme::head::RequestHead;
use crate::scheme::json_values::{PickError, PickedValue, ValuePicker};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::spec::SchemeLocation;

/// The JSON pointers that a scheme reads, joined for one pass.
pub(super) struct JsonPointers {
    picker: ValuePicker,
    pointers: Vec<Vec<String>>,
}

impl JsonPointers {
    /// Joins the pointers for one pass over the body.
    pub(super) fn new(pointers: Vec<Vec<String>>) -> Self {
        Self {
            picker: ValuePicker::new(pointers.iter().map(Vec::as_slice)),
            pointers,
        }
    }
}

/// A request whose body has arrived completely.
pub(super) struct WholeRequest<'r> {
    head: RequestHead<'r>,
    body: &'r [u8],
    pointers: &'r JsonPointers,
    form: OnceCell<Result<Vec<FormField<'r>>, &'static str>>,
    json: OnceCell<Result<Vec<PickedValue<'r>>, PickError>>,
}

impl<'r> WholeRequest<'r> {
    /// Wraps the request; parses nothing yet.
    pub(super) fn new(head: RequestHead<'r>, body: &'r [u8], pointers: &'r JsonPointers) -> Self {
        Self {
            head,
            body,
            pointers,
            form: OnceCell::new(),
            json: OnceCell::new(),
        }
    }

    pub(super) fn head(&self) -> &RequestHead<'r> {
        &self.head
    }

    /// Returns the raw body bytes.
    pub(super) fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Reads the value at a location; returns `None` if it is missing.
    ///
    /// # Errors
    /// Returns an error if the value is ambiguous or malformed.
    pub(super) fn read(
        &self,
        place: &SchemeLocation,
    ) -> Result<Option<Cow<'_, [u8]>>, MaterialFault> {
        match place {
            // A missing value is not an error here: the scheme may have other locations.
            SchemeLocation::Header(_) | SchemeLocation::Query(_) => {
                match read_head::read(&self.head, place) {
                    Ok(value) => Ok(Some(value)),
                    Err(MaterialFault::Missing { .. }) => Ok(None),
                    Err(fault) => Err(fault),
                }
            }
            // A sender that posts forms and JSON to one URL has no form field in a JSON body.
            SchemeLocation::Form(_) if form::is_like_json(self.body) => Ok(None),
            SchemeLocation::Form(name) => {
                let fields = self.form().map_err(|fault| place.malformed(fault))?;
                let value = form::one(fields, name).map_err(|fault| place.malformed(fault))?;
                Ok(value.map(|value| Cow::Borrowed(value.as_bytes())))
            }
            SchemeLocation::Json(pointer) => match self.json(pointer) {
                Ok(PickedValue::Absent) => Ok(None),
                Ok(PickedValue::Text(text)) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
                Ok(PickedValue::Bool(true)) => Ok(Some(Cow::Borrowed(b"true"))),
                Ok(PickedValue::Bool(false)) => Ok(Some(Cow::Borrowed(b"false"))),
                Ok(PickedValue::Odd) => {
                    Err(place.malformed("is not a string, an integer or a boolean"))
                }
                Ok(PickedValue::Duplicate) => Err(place.malformed("occurs twice")),
                // As with forms: a sender of both has no JSON value in the body of a form.
                Err(PickError::NotJson) => Ok(None),
                Err(PickError::Broken) => {
                    Err(place.malformed("is in a body that is not valid JSON"))
                }
            },
        }
    }

    /// Returns the fields of the form; parses them on first use.
    pub(super) fn form(&self) -> Result<&[FormField<'r>], &'static str> {
        let fields = self
            .form
            .get_or_init(|| form::read(self.head.headers, self.body));
        fields.as_deref().map_err(|fault| *fault)
    }

    fn json(&self, pointer: &[String]) -> Result<&PickedValue<'r>, PickError> {
        let picked = self
            .json
            .get_or_init(|| self.pointers.picker.pick(self.body));
        let picked = picked.as_ref().map_err(|err| *err)?;
        let pointers = &self.pointers.pointers;
        // The picker returns values in the order of the pointers it was built with.
        let position = pointers.iter().position(|known| known == pointer);
        let found = position.and_then(|position| picked.get(position));
        Ok(found.unwrap_or(&PickedValue::Absent))
    }
}

impl SchemeLocation {
    /// Returns the error for a value at this location that is not as the scheme needs it.
    pub(super) fn malformed(&self, fault: &'static str) -> MaterialFault {
        MaterialFault::malformed(&self.name(), fault)
    }

    /// Returns the error for a location without a value.
    pub(super) fn missing(&self) -> MaterialFault {
        MaterialFault::missing(&self.name())
    }
}
