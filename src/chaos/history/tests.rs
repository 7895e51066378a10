//! Histories written and read again, in each format, and what is refused.

use super::*;
use serde_json::json;

fn event(process: u64, kind: Kind, time_us: u64) -> Event {
    Event {
        process,
        kind,
        f: "approve".into(),
        value: json!({"fence": 41}),
        time_us,
        correlation_id: (kind == Kind::Invoke).then(|| format!("req_{process}")),
    }
}

fn history() -> History {
    let mut history = History::default();
    history.record(event(1, Kind::Invoke, 10), Some(event(1, Kind::Ok, 30)));
    history.record(event(2, Kind::Invoke, 20), None);
    history.sort();
    history
}

fn edn(events: &[Event]) -> String {
    let lines = events.iter().enumerate();
    lines
        .map(|(index, event)| edn_line(index, event) + "\n")
        .collect()
}

fn refused(format: Format, text: &str) -> String {
    History::read(format, text).unwrap_err().to_string()
}

#[test]
fn a_history_survives_writing_and_reading() {
    let history = history();
    let times: Vec<u64> = history.events.iter().map(|event| event.time_us).collect();
    assert_eq!(times, [10, 20, 30]);
    assert_eq!(
        History::read(Format::Jsonl, &history.write()),
        Ok(history.clone())
    );
    let text = edn(&history.events);
    assert_eq!(
        text.lines().next().unwrap(),
        "{:index 0, :time 10000, :type :invoke, :process 1, :f :approve, :value {:fence 41}, \
         :correlation-id \"req_1\"}"
    );
    assert_eq!(History::read(Format::Edn, &text), Ok(history));
}

#[test]
fn a_bad_line_is_named_with_what_was_expected() {
    let good = r#"{"process":1,"type":"invoke","f":"read","time_us":1}"#;
    assert_eq!(History::read(Format::Jsonl, good).unwrap().events.len(), 1);
    for bad in [
        r#"{"process":1}"#,
        "nonsense",
        &good.replace("invoke", "begin"),
        &good.replace("time_us", "time"),
    ] {
        let error = refused(Format::Jsonl, &format!("{good}\n\n{bad}\n"));
        assert!(
            error.starts_with("line 3: ") && error.contains("expected an object with process"),
            "{error}"
        );
    }
}

#[test]
fn edn_is_read_a_map_a_line_in_a_vector_and_as_a_record() {
    let maps = [
        "{:process 0 :type :invoke :f :read :value nil :time 123456}",
        "{:type :ok, :f :read, :value [:k 3], :process 0, :time 223456, :index 1, :error nil}",
        "{:process :nemesis, :type :info, :f :start, :value #{1 2}}",
        "{:process 1, :type :invoke, :f :put, :key \"k\", :value \"x\"}",
    ];
    let lines = maps.join("\n");
    let vector = format!("; a comment\n[{}]\n", maps.join(",\n "));
    let records: Vec<String> = maps
        .iter()
        .map(|map| format!("#jepsen.history.Op{map}"))
        .collect();
    let expected = [
        (0, Kind::Invoke, "read", Value::Null, 123),
        (0, Kind::Ok, "read", json!([":k", 3]), 223),
        (1, Kind::Invoke, "put", json!(["k", "x"]), 2),
    ];
    for text in [lines, vector, records.join(" ")] {
        let located: Vec<Located> = Format::Edn
            .read(text.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let read: Vec<_> = located
            .iter()
            .map(|located| {
                let event = &located.event;
                let told = (event.f.as_str(), event.value.clone(), event.time_us);
                (event.process, event.kind, told.0, told.1, told.2)
            })
            .collect();
        assert_eq!(read, expected, "{text}");
        let order: Vec<u64> = located.iter().map(|located| located.at).collect();
        assert_eq!(order, [0, 1, 2], "as they stand");
    }
}

#[test]
fn edn_that_is_no_event_is_refused_with_its_line() {
    let good = "{:process 0, :type :invoke, :f :read, :value nil}";
    for (bad, what) in [
        ("{:process 0, :type :begin, :f :read}", ":type :begin"),
        ("{:process -1, :type :ok, :f :read}", ":process -1"),
        ("{:type :ok, :f :read}", "no :process"),
        ("{:process 0, :type :ok}", "no :f"),
        ("{:process 0, :type :ok, :f 3}", ":f 3"),
        ("[1 2]", "`[1 2]`"),
        (
            "{:process 0, :type :ok, :f :read, :value #{1}}",
            "JSON cannot hold",
        ),
        ("{:process 0, :type :ok, :f :read, :time -5}", ":time"),
        ("{:process 0, :type", "UnexpectedEOF"),
        ("{:process 0 :process 1}", "HashMapDuplicateKey"),
    ] {
        let error = refused(Format::Edn, &format!("{good}\n\n{bad}"));
        assert!(
            error.starts_with("line 3: ")
                && error.contains(what)
                && error.contains("expected a map"),
            "{bad}: {error}"
        );
    }
    let error = refused(Format::Edn, &format!("[{good}"));
    assert_eq!(error, "line 1: the end, expected `]`");
    let error = refused(Format::Edn, &format!("[{good}]\n{good}"));
    assert!(error.starts_with("line 2: `{:process") && error.ends_with("expected the end"));
}

#[test]
fn every_value_that_json_has_survives_edn() {
    let values = [
        json!(null),
        json!(true),
        json!(-7),
        json!(1.5),
        json!("a \"quoted\" \\ text\n"),
        json!(":keyword"),
        json!(": no keyword"),
        json!([1, ["two", [3]], {}]),
        json!({"a name": 1, "name": {"nested": [null]}}),
    ];
    let mut written = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let mut event = event(index as u64, Kind::Invoke, 7);
        event.value = value;
        written.push(event);
    }
    let read = History::read(Format::Edn, &edn(&written)).unwrap();
    assert_eq!(read.events, written);
}

#[test]
fn a_format_is_known_by_its_beginning() {
    for (text, format) in [
        ("{\"process\":1}", Some(Format::Jsonl)),
        ("\n { \"process\":1}", Some(Format::Jsonl)),
        ("{:process 1}", Some(Format::Edn)),
        ("[{:process 1}]", Some(Format::Edn)),
        ("; Jepsen\n", Some(Format::Edn)),
        ("#jepsen.history.Op{:process 1}", Some(Format::Edn)),
        ("INFO  jepsen.util - 0\t:invoke", Some(Format::JepsenLog)),
        ("process,type,f", None),
        ("", None),
    ] {
        assert_eq!(Format::guess(text), format, "{text}");
    }
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let error = "json".parse::<Format>().unwrap_err();
    assert_eq!(error, "expected one of jsonl, jepsen-log, edn");
}

#[test]
fn overlaps_are_counted_on_closed_intervals() {
    assert_eq!(overlapping_pairs(&[]), 0);
    assert_eq!(overlapping_pairs(&[(0, 1), (2, 3)]), 0);
    assert_eq!(
        overlapping_pairs(&[(0, 2), (2, 3)]),
        1,
        "they shared a tick"
    );
    assert_eq!(overlapping_pairs(&[(0, 9), (1, 2), (3, 4), (4, 5)]), 4);
    assert_eq!(overlapping_pairs(&[(5, 5); 64]), 64 * 63 / 2);
}

proptest::proptest! {
    #[test]
    fn the_sweep_counts_what_a_double_loop_counts(
        raw in proptest::collection::vec((0_u64..40, 0_u64..10), 0..30),
    ) {
        let intervals: Vec<_> = raw.iter().map(|&(from, long)| (from, from + long)).collect();
        let mut pairs = 0;
        for (i, a) in intervals.iter().enumerate() {
            pairs += intervals[..i].iter().filter(|b| a.0 <= b.1 && b.0 <= a.1).count() as u64;
        }
        proptest::prop_assert_eq!(overlapping_pairs(&intervals), pairs);
    }
}
