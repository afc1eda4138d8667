//! Moves arrays between arrow-rs and polars-arrow through Arrow's C Data Interface.
//!
//! Both libraries export an array as a small C struct that points at its buffers and carries a callback that releases
//! them. Here such a struct is made by one side and taken over by the other, so buffers are shared and not copied, and
//! whoever drops the last array runs the callback. This is the only module with `unsafe`; what it hands out is safe.
//!
//! What has to hold for every block below:
//! * The two libraries' structs have one layout, which the interface prescribes (`#[repr(C)]`, the same members in the
//!   same order); sizes and alignments are compared when this is compiled.
//! * A struct is moved, never copied: it is swapped with an empty one, whose null callback makes dropping it a no-op, so
//!   each callback runs once.
//! * A type goes with its own array only: both functions compare them before they import.

use std::ptr;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::datatypes::Field;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use polars_arrow::array::Array as PolarsArray;
use polars_arrow::datatypes::Field as PolarsField;
use polars_arrow::ffi::{
    ArrowArray, ArrowSchema, export_array_to_c, export_field_to_c, import_array_from_c, import_field_from_c,
};

use crate::error::Cause;

const _: () = {
    assert!(size_of::<FFI_ArrowArray>() == size_of::<ArrowArray>());
    assert!(align_of::<FFI_ArrowArray>() == align_of::<ArrowArray>());
    assert!(size_of::<FFI_ArrowSchema>() == size_of::<ArrowSchema>());
    assert!(align_of::<FFI_ArrowSchema>() == align_of::<ArrowSchema>());
};

/// `field` and arrays of its type, as polars' Arrow has them.
///
/// # Errors
/// When an array is not of the field's type, or polars has no such type.
pub(super) fn to_polars(field: &Field, arrays: &[ArrayRef]) -> Result<(PolarsField, Vec<Box<dyn PolarsArray>>), Cause> {
    let mut exported = FFI_ArrowSchema::try_from(field)?;
    let mut received = ArrowSchema::empty();
    // SAFETY: both pointers are to live, aligned structs of one layout, and they do not overlap. The swap moves the
    // schema into `received` and leaves an empty one in `exported`.
    unsafe { ptr::swap((&raw mut exported).cast::<ArrowSchema>(), &raw mut received) };
    // SAFETY: arrow-rs exported `received` from a valid field, and it lives until the end of this function.
    let polars_field = unsafe { import_field_from_c(&received) }?;
    let import = |array: &ArrayRef| -> Result<Box<dyn PolarsArray>, Cause> {
        if array.data_type() != field.data_type() {
            return Err(format!("an array of {} in a column of {}", array.data_type(), field.data_type()).into());
        }
        let mut exported = FFI_ArrowArray::new(&array.to_data());
        let mut received = ArrowArray::empty();
        // SAFETY: as for the schema above; the array's buffers and their owner move with the struct.
        unsafe { ptr::swap((&raw mut exported).cast::<ArrowArray>(), &raw mut received) };
        // SAFETY: arrow-rs exported `received` from a valid array of the field's type (compared above), and
        // `polars_field` is that type. Arrow arrays are immutable, so nobody writes to the buffers while polars reads.
        Ok(unsafe { import_array_from_c(received, polars_field.dtype().clone()) }?)
    };
    let imported = arrays.iter().map(import).collect::<Result<_, _>>()?;
    Ok((polars_field, imported))
}

/// `field` and arrays of its type, as arrow-rs has them.
///
/// # Errors
/// When an array is not of the field's type, or arrow-rs has no such type.
pub(super) fn from_polars(
    field: &PolarsField,
    arrays: Vec<Box<dyn PolarsArray>>,
) -> Result<(Field, Vec<ArrayRef>), Cause> {
    let mut exported = export_field_to_c(field);
    // SAFETY: the pointer is to a live, aligned struct of the layout of `FFI_ArrowSchema`. `from_raw` moves the schema
    // out and leaves an empty one in `exported`.
    let received = unsafe { FFI_ArrowSchema::from_raw((&raw mut exported).cast()) };
    let arrow_field = Field::try_from(&received)?;
    let import = |array: Box<dyn PolarsArray>| -> Result<ArrayRef, Cause> {
        if array.dtype() != field.dtype() {
            return Err(format!("an array of {:?} in a column of {:?}", array.dtype(), field.dtype()).into());
        }
        let mut exported = export_array_to_c(array);
        // SAFETY: as for the schema above; the array's buffers and their owner move with the struct.
        let received = unsafe { FFI_ArrowArray::from_raw((&raw mut exported).cast()) };
        // SAFETY: polars exported `received` from a valid array of the field's type (compared above), and `arrow_field`
        // is that type. Polars' buffers are shared and therefore immutable.
        let data = unsafe { from_ffi_and_data_type(received, arrow_field.data_type().clone()) }?;
        Ok(make_array(data))
    };
    let imported = arrays.into_iter().map(import).collect::<Result<_, _>>()?;
    Ok((arrow_field, imported))
}
