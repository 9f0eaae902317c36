use arrow_schema::DataType;

use super::*;

const HERE: &str = "file:///lake/t";

fn source(columns: &[(&str, DataType, bool)]) -> Schema {
    let fields = columns.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    Schema::new(fields.collect::<Vec<_>>())
}

const APPEND: Rules = Rules { mode: WriteMode::Append, change: SchemaChange::Evolve };
const OVERWRITE: Rules = Rules { mode: WriteMode::Overwrite, change: SchemaChange::Evolve };
const FAIL: Rules = Rules { mode: WriteMode::Append, change: SchemaChange::Fail };

fn fit(table: Option<&StructType>, incoming: &Schema) -> Result<Fit, LakeError> {
    super::fit(HERE, table, incoming, APPEND)
}

fn made(columns: &[(&str, DataType, bool)]) -> StructType {
    fit(None, &source(columns)).unwrap().schema
}

fn refusal(table: &StructType, columns: &[(&str, DataType, bool)], rules: Rules) -> (String, String) {
    let error = super::fit(HERE, Some(table), &source(columns), rules).unwrap_err();
    let LakeError::Definite(fault) = error else { panic!("{error:?}") };
    (fault.message, fault.hint.unwrap())
}

#[test]
fn a_new_table_has_the_columns_of_the_source() {
    let fit = fit(None, &source(&[("a b", DataType::Int32, false), ("c", DataType::Utf8, true)])).unwrap();
    let names: Vec<_> = fit.columns.iter().map(|column| column.field.name().as_str()).collect();
    assert_eq!(names, ["a_b", "c"]);
    assert_eq!(fit.notes, ["column \"a b\" is called a_b in the lake"]);
    assert!(!fit.changes);
}

#[test]
fn a_column_is_found_again_by_its_source_name_and_keeps_its_lake_name() {
    let table = made(&[("a b", DataType::Int32, true)]);
    let fit = fit(Some(&table), &source(&[("a_b", DataType::Int32, true), ("a b", DataType::Int32, true)]));
    let fit = fit.unwrap();
    assert_eq!(fit.columns[0], FileColumn { source: 1, field: Field::new("a_b", DataType::Int32, true) });
    assert!(fit.columns[1].field.name().starts_with("a_b_"));
    assert!(fit.changes);
}

#[test]
fn a_new_column_is_nullable_where_older_files_lack_it() {
    let table = made(&[("id", DataType::Int64, false)]);
    let fit = fit(Some(&table), &source(&[("id", DataType::Int64, false), ("n", DataType::Int8, false)]));
    let fit = fit.unwrap();
    assert!(fit.columns[1].field.is_nullable());
    assert_eq!(fit.notes, ["column n was added to the table"]);
}

#[test]
fn a_column_that_the_source_lost_stays_empty_with_a_note() {
    let table = made(&[("id", DataType::Int64, false), ("gone", DataType::Utf8, false)]);
    let fit = fit(Some(&table), &source(&[("id", DataType::Int64, false)])).unwrap();
    assert_eq!(fit.columns.len(), 1);
    assert_eq!(fit.notes, ["column gone of the table is not read from the source and stays empty"]);
    assert!(fit.changes, "it must become nullable first");
}

#[test]
fn a_narrower_source_fits_and_is_written_in_the_tables_type() {
    let table = made(&[("n", DataType::Int64, true)]);
    let fit = fit(Some(&table), &source(&[("n", DataType::Int16, true)])).unwrap();
    assert_eq!(fit.columns[0].field.data_type(), &DataType::Int64);
    assert_eq!(fit.notes, ["column n is short in the source and stays long in the table"]);
    assert!(!fit.changes);
}

#[test]
fn a_wider_source_widens_the_table_but_not_under_an_overwrite() {
    let table = made(&[("n", DataType::Int32, false), ("price", DataType::Decimal128(10, 4), true)]);
    let wider = [("n", DataType::Int64, true), ("price", DataType::Decimal128(12, 2), true)];
    let fit = fit(Some(&table), &source(&wider)).unwrap();
    assert!(fit.changes);
    assert_eq!(fit.widened.len(), 2);
    let types: Vec<_> = fit.columns.iter().map(|column| column.field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Decimal128(14, 4)]);
    assert_eq!(
        fit.notes,
        [
            "column n was widened from integer to long",
            "column n of the table may now be null, as in the source",
            "column price was widened from decimal(10,4) to decimal(14,4)",
        ]
    );
    let (message, hint) = refusal(&table, &wider, OVERWRITE);
    assert_eq!(
        message,
        "column n is long in the source but integer in the table; column price is decimal(12,2) in the source but \
         decimal(10,4) in the table at file:///lake/t"
    );
    assert!(hint.contains("append, which widens n, price"), "{hint}");
}

#[test]
fn a_type_conflict_names_the_column_both_types_and_a_way_out() {
    let table = made(&[("total", DataType::Decimal128(10, 2), true)]);
    for rules in [APPEND, OVERWRITE] {
        let (message, hint) = refusal(&table, &[("total", DataType::Utf8, true)], rules);
        assert_eq!(message, "column total is string in the source but decimal(10,2) in the table at file:///lake/t");
        assert!(hint.contains("leave total out"), "{hint}");
    }
}

#[test]
fn a_column_that_came_back_with_another_type_is_a_conflict_like_any() {
    let table = made(&[("id", DataType::Int64, false), ("note", DataType::Utf8, true)]);
    fit(Some(&table), &source(&[("id", DataType::Int64, false)])).unwrap();
    let again = [("id", DataType::Int64, false), ("note", DataType::Date32, true)];
    assert!(refusal(&table, &again, APPEND).0.contains("column note is date in the source but string"));
}

#[test]
fn order_and_case_of_the_columns_are_no_difference() {
    let table = made(&[("id", DataType::Int64, false), ("Note", DataType::Utf8, true)]);
    let turned = source(&[("note", DataType::Utf8, true), ("ID", DataType::Int64, false)]);
    for rules in [APPEND, OVERWRITE, FAIL] {
        let fit = super::fit(HERE, Some(&table), &turned, rules).unwrap();
        let columns: Vec<_> = fit.columns.iter().map(|column| (column.source, column.field.name().as_str())).collect();
        assert_eq!(columns, [(1, "id"), (0, "Note")]);
        assert!(!fit.changes && fit.notes.is_empty());
    }
}

#[test]
fn under_fail_every_difference_is_named_and_a_column_that_may_not_be_null_any_more_is_one() {
    let table = made(&[
        ("id", DataType::Int32, false),
        ("day", DataType::Date32, false),
        ("gone", DataType::Utf8, true),
        ("size", DataType::Int64, true),
    ]);
    let changed = [
        ("id", DataType::Int64, false),
        ("day", DataType::Utf8, true),
        ("size", DataType::Int16, true),
        ("new", DataType::Int8, true),
    ];
    let (message, hint) = refusal(&table, &changed, FAIL);
    assert_eq!(
        message,
        "the columns of the source are not those of the table at file:///lake/t: \
         column id is long in the source but integer in the table; \
         column day is string in the source but date in the table; \
         column day may be null in the source but not in the table; \
         column size is short in the source but long in the table; \
         column gone of the table is not read from the source; column new is not in the table"
    );
    assert!(hint.contains("options.schemaChange"), "{hint}");
}

#[test]
fn a_source_that_promises_more_than_the_table_is_no_difference() {
    let table = made(&[("id", DataType::Int64, true)]);
    let fit = super::fit(HERE, Some(&table), &source(&[("id", DataType::Int64, false)]), FAIL).unwrap();
    assert!(!fit.changes);
}

#[test]
fn one_column_gone_and_one_come_of_its_type_at_its_place_is_likely_renamed() {
    let table = made(&[("id", DataType::Int64, false), ("mail", DataType::Utf8, true), ("n", DataType::Int8, true)]);
    let with = |columns: &[(&str, DataType, bool)]| fit(Some(&table), &source(columns)).unwrap().notes;
    let (id, n) = (("id", DataType::Int64, false), ("n", DataType::Int8, true));
    let notes = with(&[id.clone(), ("email", DataType::Utf8, true), n.clone()]);
    assert!(notes.iter().any(|note| note.starts_with("column email is likely column mail")), "{notes:?}");
    for other in [
        vec![id.clone(), ("email", DataType::Binary, true), n.clone()],
        vec![id.clone(), n.clone(), ("email", DataType::Utf8, true)],
        vec![id, ("email", DataType::Utf8, true), ("email2", DataType::Utf8, true), n],
    ] {
        assert!(!with(&other).iter().any(|note| note.contains("likely")));
    }
}

#[test]
fn files_do_not_fit_any_more_where_a_type_was_widened_or_a_null_forbidden_meanwhile() {
    let landed = made(&[("n", DataType::Int32, true)]);
    let moved = [
        made(&[("n", DataType::Int64, true)]),
        made(&[("n", DataType::Int32, false)]),
        made(&[("n", DataType::Int32, true), ("must", DataType::Int8, false)]),
        made(&[("m", DataType::Int32, true)]),
    ];
    for table in moved {
        assert!(matches!(still_fits(HERE, &table, &landed), Err(LakeError::Transient(_))));
    }
    still_fits(HERE, &made(&[("n", DataType::Int32, true), ("may", DataType::Int8, true)]), &landed).unwrap();
}

#[test]
fn a_table_that_another_engine_made_is_matched_by_name() {
    let table = StructType::try_new([StructField::nullable("Id", DeltaType::LONG)]).unwrap();
    let fit = fit(Some(&table), &source(&[("id", DataType::Int64, true)])).unwrap();
    assert_eq!(fit.columns[0].field.name(), "Id");
    assert!(!fit.changes);
}
