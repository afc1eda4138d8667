use super::*;

fn schema(fields: &[(&str, DataType)]) -> Schema {
    Schema::new(ArrowSchema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
        .unwrap()
}

#[test]
fn annotations_survive_the_arrow_schema() {
    let made = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)])
        .with_role("a", Role::Key)
        .and_then(|s| s.with_sensitivity("b", Sensitivity::Personal))
        .and_then(|s| s.with_unit("a", "VND"))
        .unwrap();
    let read = Schema::new(made.arrow().clone()).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.role("a").unwrap(), Role::Key);
    assert_eq!(read.hidden(), ["b"]);
    assert_eq!(read.unit("a").unwrap(), Some("VND"));
    assert_eq!(read.single(Role::Key).unwrap(), "a");
    assert!(read.single(Role::Label).is_err());
}

#[test]
fn fingerprint_sees_annotations_and_order_but_not_string_layout() {
    let base = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let view = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
    let turned = schema(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
    assert_eq!(base.fingerprint(), view.fingerprint());
    assert_ne!(base.fingerprint(), turned.fingerprint());
    assert_ne!(base.fingerprint(), base.with_role("a", Role::Key).unwrap().fingerprint());
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let twice = vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Utf8, true)];
    assert!(matches!(Schema::new(ArrowSchema::new(twice)), Err(Error::AlreadyExists { .. })));
}

#[test]
fn an_unknown_annotation_is_refused_by_name() {
    let field = Field::new("a", DataType::Int64, true).with_metadata([(ROLE.to_owned(), "boss".to_owned())].into());
    let error = Schema::new(ArrowSchema::new(vec![field])).unwrap_err().to_string();
    assert!(error.contains("column `a`") && error.contains("boss"), "{error}");
}

#[test]
fn a_missing_or_retyped_column_is_named() {
    let have = schema(&[("a", DataType::Int64), ("x", DataType::Utf8)]);
    assert!(have.ensure_provides(&schema(&[("a", DataType::Int64)])).is_ok());
    let missing = have.ensure_provides(&schema(&[("b", DataType::Int64)])).unwrap_err().to_string();
    assert!(missing.contains("`b`"), "{missing}");
    let retyped = have.ensure_provides(&schema(&[("a", DataType::Utf8)])).unwrap_err().to_string();
    assert!(retyped.contains("`a`") && retyped.contains("Int64"), "{retyped}");
}

#[test]
fn every_kind_of_change_has_its_verdict() {
    let unit = |s: Schema| s.with_unit("a", "s").unwrap();
    let field =
        |data_type, nullable| Schema::new(ArrowSchema::new(vec![Field::new("a", data_type, nullable)])).unwrap();
    let a = || field(DataType::Int32, true);
    let secret = || a().with_sensitivity("a", Sensitivity::Secret).unwrap();
    let both = |fields: &[(&str, DataType)]| schema(fields);
    // (old, new, what it says, backward, forward)
    let cases = [
        (a(), field(DataType::Int64, true), "`a` widened: Int32 to Int64", true, false),
        (field(DataType::Int64, true), a(), "`a` narrowed: Int64 to Int32", false, true),
        (a(), field(DataType::Utf8, true), "`a` retyped: Int32 to Utf8", false, false),
        (a(), field(DataType::Int32, false), "`a` may no longer be null", false, true),
        (field(DataType::Int32, false), a(), "`a` may now be null", true, false),
        (a(), secret(), "sensitivity of `a`: Internal to Secret", true, false),
        (secret(), a(), "sensitivity of `a`: Secret to Internal", false, true),
        (a(), a().with_role("a", Role::Key).unwrap(), "role of `a`: Other to Key", true, true),
        (a(), unit(a()), "unit of `a`: none to s", false, false),
        (a(), both(&[("a", DataType::Int32), ("b", DataType::Utf8)]), "`b` added: Utf8", true, true),
        (both(&[("a", DataType::Int32), ("b", DataType::Utf8)]), a(), "`b` removed: Utf8", true, true),
    ];
    for (old, new, says, backward, forward) in cases {
        let diff = SchemaDiff::between(&old, &new);
        assert_eq!(diff.to_string().trim_end(), says);
        assert_eq!(diff.compatibility(), Compatibility { backward, forward }, "{says}");
        assert_eq!(
            SchemaReader::new(&old, &new).is_ok(),
            backward || !says.contains("typed") && !says.contains("narrowed")
        );
    }
    let required = |name| Field::new(name, DataType::Int32, false);
    let more = Schema::new(ArrowSchema::new(vec![Field::new("a", DataType::Int32, true), required("b")])).unwrap();
    assert_eq!(SchemaDiff::between(&a(), &more).compatibility(), Compatibility { backward: false, forward: true });
    assert!(matches!(SchemaReader::new(&a(), &more), Err(Error::Schema { column, .. }) if column == "b"));
    let turned = both(&[("y", DataType::Int32), ("x", DataType::Int32)]);
    let straight = both(&[("x", DataType::Int32), ("y", DataType::Int32)]);
    assert_eq!(SchemaDiff::between(&straight, &turned).changes(), [SchemaChange::Reordered]);
    assert!(SchemaDiff::between(&straight, &straight).is_empty());
}

#[test]
fn a_column_has_another_name_only_where_that_is_told() {
    let old = schema(&[("cost", DataType::Int32), ("n", DataType::Utf8)]);
    let new = schema(&[("price", DataType::Int64), ("n", DataType::Utf8)]);
    let guessed = SchemaDiff::between(&old, &new);
    assert_eq!(guessed.to_string(), "`price` added: Int64\n`cost` removed: Int32\n");
    let told = SchemaDiff::with_renames(&old, &new, &[("cost", "price")]).unwrap();
    assert_eq!(told.to_string(), "`cost` renamed to `price`\n`price` widened: Int32 to Int64\n");
    let reader = SchemaReader::with_renames(&old, &new, &[("cost", "price")]).unwrap();
    assert_eq!(reader.columns(), ["cost", "n"]);

    for (renames, kind) in [(vec![("x", "price")], "x"), (vec![("cost", "x")], "x")] {
        let error = SchemaDiff::with_renames(&old, &new, &renames).unwrap_err();
        assert!(matches!(&error, Error::NotFound { name, .. } if name == kind), "{error:?}");
    }
    for renames in [vec![("cost", "n")], vec![("cost", "price"), ("n", "price")]] {
        let error = SchemaDiff::with_renames(&old, &new, &renames).unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    }
}

#[test]
fn old_rows_are_cast_filled_and_cut_to_the_new_schema() {
    use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int32Array};
    let stored = RecordBatch::try_from_iter_with_nullable([
        ("n", std::sync::Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef, true),
        ("gone", std::sync::Arc::new(Int32Array::from(vec![1, 2])), true),
        ("day", std::sync::Arc::new(Date32Array::from(vec![1, -1])), true),
    ])
    .unwrap();
    let time = crate::EventTime::data_type();
    let wanted = schema(&[("day", time), ("new", DataType::Utf8), ("n", DataType::Float64)]);
    let reader = SchemaReader::new(&Schema::new(stored.schema()).unwrap(), &wanted).unwrap();
    assert_eq!(reader.columns(), ["n", "day"]);
    let read = reader.read(&stored).unwrap();
    assert_eq!(read.schema_ref(), wanted.arrow());
    let days = read.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(days.values(), &[86_400_000_000, -86_400_000_000]);
    assert_eq!(read.column(1).null_count(), 2);
    let numbers = read.column(2).as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(7.0), None]);

    let strict = Schema::new(ArrowSchema::new(vec![Field::new("n", DataType::Int32, false)])).unwrap();
    let strict = SchemaReader::new(&Schema::new(stored.schema()).unwrap(), &strict).unwrap();
    assert!(matches!(strict.read(&stored), Err(Error::Schema { .. })), "a null where none may be");
}

#[test]
fn schemas_are_reconciled_in_the_narrowest_types_and_the_highest_sensitivity() {
    let one = schema(&[("id", DataType::Int32), ("phone", DataType::Utf8), ("x", DataType::Float32)]);
    let two = schema(&[("phone", DataType::LargeUtf8), ("id", DataType::Int64), ("extra", DataType::Boolean)])
        .with_sensitivity("phone", Sensitivity::Personal)
        .unwrap();
    let both = Schema::reconcile([&one, &two]).unwrap();
    assert!(both.names().eq(["id", "phone", "x", "extra"]));
    assert_eq!(both.field("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(both.hidden(), ["phone"]);
    for part in [&one, &two] {
        assert!(SchemaReader::new(part, &both).is_ok());
    }
    assert_eq!(Schema::reconcile([&both, &one, &two]).unwrap(), both);

    let clash = Schema::reconcile([&one, &schema(&[("id", DataType::Utf8)])]).unwrap_err();
    assert!(matches!(&clash, Error::Schema { column, .. } if column == "id"), "{clash:?}");
    let priced = schema(&[("x", DataType::Float32)]).with_unit("x", "VND").unwrap();
    assert!(Schema::reconcile([&one, &priced]).is_err());
    assert!(matches!(Schema::reconcile([]), Err(Error::Invalid { .. })));
}
