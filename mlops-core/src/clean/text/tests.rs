use crate::Schema;
use arrow::datatypes::Int64Type;

use super::super::fixture::{clean, column, data, floats, near};
use super::*;
use crate::schema::Sensitivity;

fn docs() -> Dataset {
    let texts = vec![Some("the cat sat on the mat"), Some("The dog sat, the dog ran!"), Some("cats and dogs"), None];
    data([("t", column(StringArray::from(texts)))])
}

fn text(part: TextPart) -> Text {
    Text::builder("t").part(part).build().unwrap()
}

#[track_caller]
fn rows(text: &Text, expected: &[Vec<f64>]) {
    let (treated, _) = clean(text, &docs());
    assert_eq!(treated.num_columns(), expected[0].len());
    for (at, field) in treated.schema().fields().iter().enumerate() {
        let expected: Vec<_> = expected.iter().map(|row| Some(row[at])).chain([Some(0.0)]).collect();
        near(&floats(&treated, field.name()), &expected);
    }
}

#[test]
fn bags_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1: HashingVectorizer(n_features=8).
    let a = 0.4082482904638631;
    let b = 0.31622776601683794;
    rows(
        &text(TextPart::Bag { columns: 8 }),
        &[
            vec![0.0, 0.0, 0.0, -a, a, 0.0, -0.8164965809277261, 0.0],
            vec![0.0, 0.0, b, 0.0, b, -0.6324555320336759, -0.6324555320336759, 0.0],
            vec![0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ],
    );
}

#[test]
fn weights_of_words_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1: TfidfVectorizer(max_features=3): dog, sat, the.
    let tf_idf = text(TextPart::TfIdf { words_max: 3 });
    rows(
        &tf_idf,
        &[
            vec![0.0, 0.4472135954999579, 0.8944271909999159],
            vec![0.7618289061436688, 0.28969525980379496, 0.5793905196075899],
            vec![0.0, 0.0, 0.0],
        ],
    );
    let state = tf_idf.fit(&docs()).unwrap().state().unwrap();
    let fitted: FittedText = serde_json::from_value(state.body).unwrap();
    let words = fitted.words("t");
    assert_eq!(words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), ["dog", "sat", "the"]);
    assert!((words[0].1 - 1.6931471805599454).abs() < 1e-12 && (words[2].1 - 1.2876820724517808).abs() < 1e-12);
}

#[test]
fn lengths_count_characters_and_words() {
    let texts = data([("t", column(StringArray::from(vec![Some("chào  bạn"), Some(""), None])))]);
    let text = Text::builder("t").part(TextPart::Chars).part(TextPart::Words).keep_source(true).build().unwrap();
    let (treated, changes) = clean(&text, &texts);
    let of = |name: &str| treated[name].as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(of("t_chars"), [Some(9), Some(0), None]);
    assert_eq!(of("t_words"), [Some(2), Some(0), None]);
    assert_eq!((treated.num_columns(), changes.cells("t", Change::Derived)), (3, 2));
}

#[test]
fn words_of_a_person_do_not_reach_a_state() {
    let secret = docs().with_schema(docs().schema().with_sensitivity("t", Sensitivity::Personal).unwrap()).unwrap();
    assert!(matches!(
        text(TextPart::TfIdf { words_max: 9 }).fit(&secret),
        Err(Error::Schema { column, .. }) if column == "t"
    ));
    let (treated, _) = clean(&text(TextPart::Chars), &secret);
    assert_eq!(Schema::new(treated.schema()).unwrap().sensitivity("t_chars").unwrap(), Sensitivity::Personal);
}

#[test]
fn settings_out_of_their_domain_are_refused() {
    assert!(Text::builder("t").build().is_err());
    assert!(Text::builder("t").part(TextPart::Bag { columns: 0 }).build().is_err());
    assert!(Text::builder("t").part(TextPart::TfIdf { words_max: 5000 }).build().is_err());
    let mut hostile = text(TextPart::Bag { columns: 4 }).fit(&docs()).unwrap().state().unwrap();
    hostile.body["columns"][0]["parts"][0]["bag"]["columns"] = serde_json::json!(0);
    assert!(super::super::restore(&hostile).unwrap().begin(docs().schema()).is_err());
    let numbers = data([("t", column(Int64Array::from(vec![1])))]);
    assert!(text(TextPart::Chars).fit(&numbers).is_err());
    let form = r#"{"columns": "texts", "parts": ["chars", {"bag": {"columns": 4}}]}"#;
    let made = Text::builder(Pick::Texts).part(TextPart::Chars).part(TextPart::Bag { columns: 4 }).build().unwrap();
    assert_eq!(serde_json::from_str::<Text>(form).unwrap(), made);
}
