//! What the gateway counts of a session whose turns are spoken. Each answer that was heard is a turn of
//! it: who passes a socket on and shows the same session for ever made none.

use serde::{Deserialize, Serialize};

use super::talk::Line;
use crate::checks::{Judgement, Sent};
use crate::target::{Ask, Client};

/// A session before and after a conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Before.
    pub before: Option<Sent>,
    /// After.
    pub after: Option<Sent>,
}

impl Counted {
    /// Looks before.
    pub async fn before(client: &Client, session: &str) -> Self {
        Self {
            before: Some(look(client, session).await),
            after: None,
        }
    }

    /// Looks after.
    pub async fn look_again(&mut self, client: &Client, session: &str) {
        self.after = Some(look(client, session).await);
    }

    /// Judges that at least as many turns were counted as were answered in these lines.
    pub fn judge<'a>(&self, lines: impl Iterator<Item = &'a Line>, judgement: &mut Judgement) {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            judgement.undecided("the turns of the session were not counted");
            return;
        };
        let answers = lines.filter(|line| line.is("response.final")).count() as u64;
        let [from, to] = [before, after].map(|sent| sent.answer["turn_count"].as_u64());
        let rose = from.zip(to).is_some_and(|(from, to)| to >= from + answers);
        judgement.expect(rose, || {
            format!(
                "the session's turn_count: got {} and then {}, expected at least {answers} more",
                before.answer["turn_count"], after.answer["turn_count"]
            )
        });
    }
}

async fn look(client: &Client, session: &str) -> Sent {
    let ask = Ask::get("api-gateway", &format!("/v3/sessions/{session}"));
    Sent::by(client, ask).await
}

/// One whose session had no turn, and then so many, for tests of who judges it.
#[cfg(test)]
pub(super) fn counted(turns: u64) -> Counted {
    let sent = |turns: u64| {
        let answer = serde_json::json!({"turn_count": turns});
        crate::checks::by_hand::sent("api-gateway", "GET", "/v3/sessions/ses_1", 200, answer)
    };
    Counted {
        before: Some(sent(0)),
        after: Some(sent(turns)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checks::voice::talk::By;

    fn violations(counted: &Counted, answers: usize) -> usize {
        let frame = json!({"type": "response.final", "payload": {}});
        let lines = vec![Line::text(1, By::Target, &frame); answers];
        let mut judgement = Judgement::default();
        counted.judge(lines.iter(), &mut judgement);
        judgement.violations.len()
    }

    #[test]
    fn every_answer_is_a_turn() {
        assert_eq!(violations(&counted(2), 2), 0);
        assert_eq!(violations(&counted(3), 2), 0, "one was not heard");
        assert_eq!(violations(&counted(1), 2), 1);
        let frozen = Counted {
            after: counted(0).before,
            ..counted(2)
        };
        assert_eq!(violations(&frozen, 1), 1);
        assert_eq!(violations(&Counted::default(), 1), 0);
    }
}
