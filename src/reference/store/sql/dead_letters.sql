-- What failed for good after it was decided. operation_id is that of the last try.
CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL CHECK (source IN ('turn', 'confirmation', 'action')),
    source_id TEXT NOT NULL,
    session_id TEXT,
    tool_name TEXT NOT NULL,
    args TEXT NOT NULL CHECK (json_valid(args)),
    decision_id TEXT,
    fence_token INTEGER,
    code TEXT,
    message TEXT,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'resolved')),
    replay_generation INTEGER NOT NULL DEFAULT 0 CHECK (replay_generation >= 0),
    correlation_id TEXT NOT NULL,
    causal_parent TEXT NOT NULL,
    operation_id TEXT NOT NULL UNIQUE,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    CHECK ((decision_id IS NULL) = (fence_token IS NULL)),
    CHECK ((state = 'resolved') = (code IS NULL)),
    CHECK ((code IS NULL) = (message IS NULL))
) STRICT;
CREATE INDEX dead_letters_resolved ON dead_letters (seq) WHERE state = 'resolved';

-- The count of replays goes up by one where a replay begins, and nowhere else.
CREATE TRIGGER dead_letters_count_replays BEFORE UPDATE OF replay_generation ON dead_letters
WHEN NEW.replay_generation IS NOT OLD.replay_generation AND NOT (
    NEW.replay_generation = OLD.replay_generation + 1
    AND OLD.state = 'open' AND NEW.state = 'replaying')
BEGIN
    SELECT RAISE(ABORT, 'replay_generation rises by one with each replay');
END;

CREATE TRIGGER dead_letters_keep_their_origin
BEFORE UPDATE OF correlation_id, causal_parent ON dead_letters
WHEN NEW.correlation_id IS NOT OLD.correlation_id OR NEW.causal_parent IS NOT OLD.causal_parent
BEGIN
    SELECT RAISE(ABORT, 'a dead letter keeps its origin');
END;
