//! The statistics in the log are there, right, and never too narrow.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use headwaters_model::job::WriteMode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::Ground;
use crate::reader::newest;
use crate::rows::of_columns;

async fn stats_of(columns: Vec<(&str, ArrayRef)>, folder: &Path) -> Value {
    let ground = Ground::at(folder);
    let landed = ground.land(&[of_columns(columns)], WriteMode::Append).await.unwrap();
    ground.commit(&landed, 1, WriteMode::Append).await.unwrap();
    serde_json::from_str(newest(folder).files[0]["stats"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_has_its_least_and_greatest_value_and_its_nulls() {
    let folder = TempDir::new().unwrap();
    let instants = TimestampMicrosecondArray::from(vec![Some(-1), Some(1_700_000_000_123_456), None]);
    let money = Decimal128Array::from(vec![Some(-5), Some(123_456), None]).with_precision_and_scale(10, 2).unwrap();
    let stats = stats_of(
        vec![
            ("n", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
            ("x", Arc::new(Float64Array::from(vec![Some(-0.5), Some(1e300), None]))),
            ("money", Arc::new(money)),
            ("day", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
            ("at", Arc::new(instants.with_timezone("UTC"))),
            ("text", Arc::new(StringArray::from(vec![Some("Ärger \"x\""), Some("a"), None]))),
            ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"x"[..]), None, None]))),
            ("empty", Arc::new(Int64Array::from(vec![None, None, None]))),
        ],
        folder.path(),
    )
    .await;
    assert_eq!(stats["numRecords"], 3);
    assert_eq!(
        stats["minValues"],
        json!({"n": i64::MIN, "x": -0.5, "money": -0.05, "day": "0001-01-01", "at": "1969-12-31T23:59:59.999Z", "text": "a"})
    );
    assert_eq!(
        stats["maxValues"],
        json!({"n": i64::MAX, "x": 1e300, "money": 1234.56, "day": "9999-12-31", "at": "2023-11-14T22:13:20.124Z",
               "text": "Ärger \"x\""})
    );
    assert_eq!(
        stats["nullCount"],
        json!({"n": 1, "x": 1, "money": 1, "day": 1, "at": 1, "text": 1, "bytes": 2, "empty": 3})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_decimals_are_not_rounded() {
    let folder = TempDir::new().unwrap();
    let ground = Ground::at(folder.path());
    let greatest = 10_i128.pow(38) - 1;
    let column = Decimal128Array::from(vec![-greatest, greatest - 1]).with_precision_and_scale(38, 10).unwrap();
    let landed = ground.land(&[of_columns(vec![("d", Arc::new(column))])], WriteMode::Append).await.unwrap();
    let stats = landed.files[0].stats.as_deref().unwrap();
    assert!(stats.contains(r#""minValues":{"d":-9999999999999999999999999999.9999999999}"#), "{stats}");
    assert!(stats.contains(r#""maxValues":{"d":9999999999999999999999999999.9999999998}"#), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_texts_bounds_are_short_and_outside_of_it() {
    let folder = TempDir::new().unwrap();
    let long = "é".repeat(500);
    let stats = stats_of(vec![("t", Arc::new(StringArray::from(vec![long.as_str()])))], folder.path()).await;
    let (least, greatest) = (stats["minValues"]["t"].as_str().unwrap(), stats["maxValues"]["t"].as_str().unwrap());
    assert!(least <= long.as_str() && long.as_str() <= greatest);
    assert!(least.len() <= 64 && greatest.len() <= 64);
}
