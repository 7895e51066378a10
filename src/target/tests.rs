//! A child process is started, killed and talked to. The child is a script that only behaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{
    Ask, Credential, Incident, Incidents, Instance, Keys, Launcher, Setup, StartError, StopError,
};
use crate::base::{Clock, Seed};
use crate::doubles::{Behaviour, Double, Kind, Point};
use crate::model::target_spec::{TargetKind, TargetSpec};

/// How long a test waits for something that comes at once.
const SOON: Duration = Duration::from_secs(20);

fn launcher() -> Launcher {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/target/fake.sh");
    Launcher {
        binary: PathBuf::from(script),
        spec: TargetSpec {
            name: "fake".to_owned(),
            kind: TargetKind::Embedded { args: Vec::new() },
        },
    }
}

struct Fake {
    _dir: tempfile::TempDir,
    incidents: Incidents,
    setup: Setup,
}

fn fake(behaviour: &str, url: &str) -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let incidents = Incidents::default();
    let env = BTreeMap::from([
        ("FAKE".to_owned(), behaviour.to_owned()),
        ("FAKE_URL".to_owned(), url.to_owned()),
    ]);
    let setup = Setup {
        dir: dir.path().to_owned(),
        data: Setup::data(dir.path()),
        config: json!({"a": 1}),
        args: Vec::new(),
        through: Vec::new(),
        env,
        keys: Keys::new(Seed(1)),
        clock: Clock::start(),
        seed: Seed(1),
        incidents: incidents.clone(),
    };
    Fake {
        _dir: dir,
        incidents,
        setup,
    }
}

async fn started(fake: &Fake) -> Instance {
    launcher().start(fake.setup.clone()).await.unwrap()
}

async fn refused(behaviour: &str) -> StartError {
    let fake = fake(behaviour, "http://none");
    match launcher().start(fake.setup.clone()).await {
        Ok(_) => panic!("{behaviour} started"),
        Err(error) => error,
    }
}

fn alive(pid: u32) -> bool {
    // Dead and not yet reaped by whoever inherited it (Z) is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

async fn gone(pid: u32) {
    let end = tokio::time::Instant::now() + SOON;
    while alive(pid) {
        assert!(
            tokio::time::Instant::now() < end,
            "process {pid} still runs"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_is_killed_started_again_and_nobody_calls_that_an_incident() {
    let fake = fake("", "http://127.0.0.1:1");
    let mut instance = started(&fake).await;
    let first = instance.pid().unwrap();
    assert_eq!(instance.listening().pid, first);
    instance.kill().await.unwrap();
    assert_eq!((alive(first), instance.pid()), (false, None));
    assert!(instance.exited().is_some());
    instance.start_again_with(json!({"a": 2})).await.unwrap();
    let config = std::fs::read_to_string(fake.setup.dir.join("config.json")).unwrap();
    assert!(config.contains('2'), "{config}");
    let second = instance.pid().unwrap();
    assert!(alive(second) && second != first);
    drop(instance);
    gone(second).await;
    assert_eq!(fake.incidents.all(), Vec::new());
}

#[tokio::test]
async fn the_whole_process_group_goes_with_it() {
    let fake = fake("child", "http://127.0.0.1:1");
    let instance = started(&fake).await;
    let file = Setup::data(&fake.setup.dir).join("grandchild");
    let end = tokio::time::Instant::now() + SOON;
    let grandchild: u32 = loop {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Ok(pid) = text.trim().parse()
        {
            break pid;
        }
        assert!(tokio::time::Instant::now() < end, "no grandchild");
        tokio::task::yield_now().await;
    };
    assert!(alive(grandchild));
    drop(instance);
    gone(grandchild).await;
}

#[tokio::test]
async fn it_is_terminated_and_its_status_is_told() {
    let fake = fake("term", "http://127.0.0.1:1");
    let mut instance = started(&fake).await;
    assert_eq!(instance.terminate().await.unwrap().code(), Some(0));
    assert!(matches!(
        instance.terminate().await,
        Err(StopError::NoProcess)
    ));
    assert_eq!(fake.incidents.all(), Vec::new());
}

#[tokio::test]
async fn it_ends_when_its_stdin_closes() {
    let fake = fake("", "http://127.0.0.1:1");
    let mut instance = started(&fake).await;
    assert_eq!(instance.hang_up().await.unwrap().code(), Some(5));
    assert_eq!(fake.incidents.all(), Vec::new());
}

#[tokio::test]
async fn one_that_exits_unasked_is_an_incident_with_its_last_words() {
    let fake = fake("die", "http://127.0.0.1:1");
    let mut instance = started(&fake).await;
    let pid = instance.listening().pid;
    gone(pid).await;
    instance.kill().await.unwrap();
    let incidents = fake.incidents.all();
    assert_eq!(incidents.len(), 1);
    let Incident::ExitedUnasked {
        status,
        stderr_tail,
        ..
    } = &incidents[0]
    else {
        panic!("{incidents:?}")
    };
    assert_eq!(
        (status.as_str(), stderr_tail.as_str()),
        ("exit status: 7", "out of luck")
    );
}

#[tokio::test]
async fn one_that_refuses_to_start_tells_its_status_and_stderr() {
    let error = refused("refuse").await;
    assert!(error.by_target());
    let text = error.to_string();
    assert!(
        text.contains("exit status: 3") && text.contains("no key file"),
        "{text}"
    );
    let text = refused("half").await.to_string();
    assert!(
        text.contains("exit status: 4") && text.contains("restore failed"),
        "{text}"
    );
    let text = refused("garble").await.to_string();
    assert!(
        text.contains("`Listening on port 80` is no listening line"),
        "{text}"
    );
}

/// The log is a folder here, so it cannot be written.
#[tokio::test]
async fn last_words_are_told_and_logged_and_told_without_a_log_too() {
    let last = ["first line", "no key file"].join("\n");
    for with_log in [true, false] {
        let fake = fake("refuse", "http://none");
        let log = fake.setup.dir.join("stderr.log");
        if !with_log {
            std::fs::create_dir(&log).unwrap();
        }
        let Err(error) = launcher().start(fake.setup.clone()).await else {
            panic!("it started")
        };
        let StartError::Exited { stderr_tail, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*stderr_tail, last);
        if with_log {
            assert_eq!(std::fs::read_to_string(&log).unwrap().trim_end(), last);
        }
    }
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_trouble_of_the_harness() {
    let fake = fake("", "http://none");
    let launcher = Launcher {
        binary: PathBuf::from("/no/such/binary"),
        ..launcher()
    };
    let Err(error) = launcher.start(fake.setup.clone()).await else {
        panic!("it started")
    };
    assert!(!error.by_target());
    assert!(
        error.to_string().starts_with("cannot run /no/such/binary"),
        "{error}"
    );
}

#[tokio::test]
async fn a_remote_target_is_addressed_and_never_stopped() {
    let models = Double::start(Kind::Models, Clock::start()).await.unwrap();
    let launcher = Launcher {
        spec: TargetSpec {
            name: "far".to_owned(),
            kind: TargetKind::Remote {
                url: models.url() + "/",
            },
        },
        ..launcher()
    };
    let fake = fake("", "");
    let mut instance = launcher.start(fake.setup.clone()).await.unwrap();
    let ask = Ask::post("api-gateway", "/chat", json!({"input_text": "hi"}));
    assert!(instance.client(Credential::None).send(ask).await.ok());
    assert!(matches!(instance.kill().await, Err(StopError::NoProcess)));
    assert!(matches!(
        instance.start_again().await,
        Err(StartError::Remote)
    ));
}

#[tokio::test]
async fn an_exchange_has_times_and_answer_and_never_a_secret() {
    let models = Double::start(Kind::Models, Clock::start()).await.unwrap();
    let fake = fake("", &models.url());
    let instance = started(&fake).await;
    let client = instance.client(Credential::Operator(2));
    let ask = Ask::post("api-gateway", "/chat", json!({"input_text": "hi"})).key("k-1");
    let done = client.send(ask).await;
    assert_eq!(done.status(), 200);
    assert_eq!(done.answered()["text"], "You said: hi");
    assert!(done.invoked_us <= done.returned_us.unwrap());
    assert_eq!(done.headers["authorization"], "<op-2>");
    let calls = models.calls();
    assert_eq!(calls[0].headers["authorization"], "<redacted>");
    assert_eq!(calls[0].headers["x-correlation-id"], done.correlation_id);
    let (_, secret) = fake.setup.keys.header(&Credential::Operator(2)).unwrap();
    let written = serde_json::to_string(&done).unwrap() + &serde_json::to_string(&calls).unwrap();
    assert!(!written.contains(secret.strip_prefix("Bearer ").unwrap()));
    let again = client.send(Ask::get("api-gateway", "/none")).await;
    assert_ne!(again.correlation_id, done.correlation_id);
    assert_eq!(again.status(), 404);
}

#[tokio::test]
async fn no_answer_is_a_result_with_its_reason() {
    let models = Double::start(Kind::Models, Clock::start()).await.unwrap();
    let fake = fake("", &models.url());
    let instance = started(&fake).await;
    let client = instance.client(Credential::None);
    let chat = || Ask::post("api-gateway", "/chat", json!({}));
    models.behave(Behaviour::hold(Point::Arrived));
    let late = client.send(chat().within(Duration::from_millis(50))).await;
    assert_eq!((late.returned_us, late.status()), (None, 0));
    assert_eq!(late.error.as_deref(), Some("no answer within 50 ms"));
    models.behave(Behaviour::cut(Point::Committed));
    let cut = client.send(chat()).await;
    assert!(
        cut.answer.is_none() && cut.error.is_some(),
        "{}",
        cut.line()
    );
    let nobody = client.send(Ask::get("eva-os", "/healthz")).await;
    assert_eq!(
        nobody.error.as_deref(),
        Some("the target names no service eva-os")
    );
}

#[tokio::test]
async fn a_fleet_is_talked_to_like_one_and_each_process_is_killed_alone() {
    let first = fake("", "http://127.0.0.1:1");
    let second = fake("", "http://127.0.0.1:2");
    let setups = [("api-gateway", &first), ("eva-os", &second)].map(|(service, fake)| {
        let mut setup = fake.setup.clone();
        setup.data = first.setup.data.clone();
        setup
            .env
            .insert("FAKE_SERVICE".to_owned(), service.to_owned());
        setup
    });
    let mut fleet = launcher().start_fleet(setups.to_vec()).await.unwrap();
    let services = fleet.listening().services.clone();
    assert_eq!(services["api-gateway"], "http://127.0.0.1:1");
    assert_eq!(services["eva-os"], "http://127.0.0.1:2");
    let pids: Vec<_> = fleet.members().iter().map(Instance::pid).collect();
    fleet.kill("eva-os").await.unwrap();
    assert_eq!(fleet.members()[0].pid(), pids[0]);
    assert_eq!(fleet.members()[1].pid(), None);
    assert!(fleet.kill("openclaw").await.is_err());
    fleet.start_again("eva-os").await.unwrap();
    assert!(
        fleet.members()[1]
            .pid()
            .is_some_and(|pid| Some(pid) != pids[1])
    );
    assert_eq!(fleet.listening().services, services);
    assert_eq!(first.incidents.all(), Vec::new());
}
