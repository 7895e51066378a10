-- WITHOUT ROWID: an entry is stored once, so there is no index that could tell another story.
CREATE TABLE audit_log (
    chain TEXT NOT NULL CHECK (chain = '{service}'),
    seq INTEGER NOT NULL,
    ts TEXT NOT NULL,
    service TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_role TEXT NOT NULL,
    via TEXT,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('ok', 'refused', 'failed')),
    correlation_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    replay_generation INTEGER NOT NULL,
    causal_parent TEXT,
    payload_sha256 TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_log_refuses_update BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;

CREATE TRIGGER audit_log_refuses_delete BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;

-- Without this one INSERT OR REPLACE slips past the other two: its delete fires no trigger.
CREATE TRIGGER audit_log_appends_in_order BEFORE INSERT ON audit_log
WHEN NEW.seq IS NOT coalesce(
        (SELECT seq FROM audit_log WHERE chain = NEW.chain ORDER BY seq DESC LIMIT 1), -1) + 1
    OR NEW.prev_hash IS NOT coalesce(
        (SELECT hash FROM audit_log WHERE chain = NEW.chain ORDER BY seq DESC LIMIT 1),
        '0000000000000000000000000000000000000000000000000000000000000000')
BEGIN
    SELECT RAISE(ABORT, 'audit_log takes the next entry of its chain only');
END;

-- Calls to the outside world, written with the decision that led to them; pending ones are resumed
-- at start. context: who and where from. detail: what its kind needs.
CREATE TABLE operations (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    decision_id TEXT,
    fence_token INTEGER,
    detail TEXT NOT NULL,
    context TEXT NOT NULL,
    causal_parent TEXT,
    answer_status INTEGER,
    answer_body TEXT,
    created_at_us INTEGER NOT NULL,
    finished_at_us INTEGER
) STRICT;
CREATE INDEX operations_by_decision ON operations (decision_id);
CREATE INDEX operations_pending ON operations (created_at_us) WHERE state = 'pending';

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    ts TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
